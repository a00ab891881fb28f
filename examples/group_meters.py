"""Describe electricity meters: a pandas group-apply, with `apply` and with pmap.

A table holds the half-hourly readings of some hundred meters. For each meter the typical day, the
load at night, the peak and the days that stand out are computed. `groupby(...).apply(...)` does it
one meter after the other; pmap takes the groups of the same `groupby`. The two tables must be
equal.

    pip install pandas
    python examples/group_meters.py
"""

import sys
import time

import numpy as np
import pandas as pd

from parmap import pmap

METERS, DAYS = 180, 60


def readings() -> pd.DataFrame:
    """Make the table: a daily rhythm, another level for each meter, and noise."""
    random = np.random.default_rng(11)
    times = pd.date_range("2026-01-01", periods=48 * DAYS, freq="30min")
    rhythm = 1.0 + 0.7 * np.sin(2 * np.pi * (np.arange(len(times)) % 48 - 14) / 48)
    tables = []
    for meter in range(METERS):
        level = random.lognormal(-1.0, 0.5)
        kwh = level * rhythm * random.lognormal(0.0, 0.3, len(times))
        tables.append(pd.DataFrame({"meter": f"M{meter:04}", "time": times, "kwh": kwh}))
    return pd.concat(tables, ignore_index=True)


def describe(meter: pd.DataFrame) -> pd.Series:
    """Describe the readings of one meter."""
    kwh = meter.set_index("time")["kwh"]
    daily = kwh.resample("D").sum()
    usual = daily.rolling(14, center=True, min_periods=7).median()
    typical_day = kwh.groupby(kwh.index.time).median()
    night = kwh.between_time("01:00", "05:00").resample("D").mean()
    return pd.Series(
        {
            "per day": daily.mean(),
            "at night": night.median(),
            "peak": kwh.rolling("2h").mean().max(),
            "peak at": str(typical_day.idxmax()),
            "odd days": int(((daily - usual).abs() > 3 * (daily - usual).std()).sum()),
        }
    )


def main() -> int:
    """Describe all meters twice, print the largest, and return 1 if the two tables differ."""
    table = readings()
    print(f"{len(table):,} readings of {METERS} meters")
    groups = table.groupby("meter")[["time", "kwh"]]

    start = time.perf_counter()
    expected = groups.apply(describe)
    serial = time.perf_counter() - start

    start = time.perf_counter()
    names, tables = zip(*groups, strict=True)
    found = pd.DataFrame(pmap(describe, tables), index=pd.Index(names, name="meter"))
    parallel = time.perf_counter() - start

    print(f"\n{found.nlargest(5, 'per day').round(3)}")

    identical = found.equals(expected)
    print(f"\nserial {serial:.2f} s, pmap {parallel:.2f} s, ratio {serial / parallel:.2f}")
    print(f"identical results: {'yes' if identical else 'NO'}")
    return 0 if identical else 1


if __name__ == "__main__":
    sys.exit(main())
