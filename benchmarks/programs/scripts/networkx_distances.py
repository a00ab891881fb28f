"""networkx, distances from each of 1,000 nodes, 0.9 ms each"""

from functools import partial

import networkx as nx

from benchmarks.programs.measure import measure


def prepare(turn):
    return nx.connected_watts_strogatz_graph(1_000, 8, 0.1, seed=turn)


def farness(graph, node):
    lengths = nx.single_source_shortest_path_length(graph, node)
    return sum(lengths.values()), max(lengths.values())


def program(map_, graph):
    return map_(partial(farness, graph), graph)


if __name__ == "__main__":
    measure(prepare, program)
