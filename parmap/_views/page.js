"use strict";
const data = JSON.parse(document.getElementById("data").textContent);
const $ = id => document.getElementById(id);
const make = (tag, text, parent, name) => {
  const made = document.createElement(tag);
  if (text !== undefined) made.textContent = text;
  if (name) made.className = name;
  if (parent) parent.append(made);
  return made;
};
const two = number => number.toLocaleString("en", { maximumSignificantDigits: 3 });
const time = us => us >= 999500 ? two(us / 1e6) + " s" : us >= 999.5 ? two(us / 1e3) + " ms"
  : two(us) + " µs";
const moment = us => (us / 1e6).toFixed(data.span < 1e6 ? 6 : data.span < 1e8 ? 4 : 2) + " s";
const size = n => n >= 1e9 ? two(n / 1e9) + " GB" : n >= 1e6 ? two(n / 1e6) + " MB"
  : n >= 1e3 ? two(n / 1e3) + " kB" : n + " bytes";

// Bars come as [call, start, tasks, began, length, before, after, attempts, sent, bytes, failed,
// joined, lengths of marks, numbers of tasks in them].
for (const row of data.rows) {
  row.bars = row.bars.map(([call, start, tasks, began, length, before, after, attempts, sent,
    bytes, failed, joined, lengths, numbers]) => {
    let at = began, done = 0;
    const ends = (lengths || []).map(step => at += step);
    const marks = (lengths || []).map((_, n) => done += numbers ? numbers[n] : 1);
    return { call, start, tasks, began, ended: began + length, before, after, attempts, sent,
      bytes, failed, joined, ends, marks };
  }).sort((a, b) => a.began - b.began);
  row.events = data.events.filter(event => data.rows[event.row] === row);
  let last = 0;  // bars of calls that overlap: how far back one must look
  row.reach = row.bars.map(bar => last = Math.max(last, bar.ended + bar.after));
}
const failed = data.calls.map(() => new Map());
for (const event of data.events) failed[event.call].set(event.index, event);

const canvas = $("canvas"), pen = canvas.getContext("2d"), tip = $("tip");
const LEFT = 148, FOOT = 26, TOP = 16;
const HIGH = data.rows.length > 24 ? 18 : 26, BAR = HIGH - 8;
const colour = {};
let from = 0, to = data.span, wide = 0, chosen = 0;

function restyle() {
  const style = getComputedStyle(document.documentElement);
  for (const name of ["task", "edge", "moving", "starting", "loading", "trouble", "again", "call",
    "row", "line", "ink", "soft", "faint"]) colour[name] = style.getPropertyValue("--" + name);
  resize();
}
function resize() {
  const ratio = window.devicePixelRatio || 1, high = TOP + data.rows.length * HIGH + FOOT;
  wide = canvas.clientWidth;
  canvas.style.height = high + "px";
  canvas.width = wide * ratio;
  canvas.height = high * ratio;
  pen.setTransform(ratio, 0, 0, ratio, 0, 0);
  draw();
}
const x = us => LEFT + (us - from) / (to - from) * (wide - LEFT - 14);
const at = px => from + (px - LEFT) / (wide - LEFT - 14) * (to - from);

function first(list, us, key) {  // the first of a sorted list whose key is beyond us
  let low = 0, high = list.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (key(list, middle) > us) high = middle; else low = middle + 1;
  }
  return low;
}
function box(name, begin, end, y, high) {
  const left = Math.max(x(begin), LEFT - 2), right = Math.min(x(end), wide - 12);
  if (right < LEFT || left > wide - 12) return;
  pen.fillStyle = colour[name];
  pen.fillRect(left, y, Math.max(right - left, 0.75), high);
}
function drawBars(row, y) {
  let drawn = -1;
  for (let n = first(row.reach, from, (list, i) => list[i]); n < row.bars.length; n++) {
    const bar = row.bars[n];
    if (bar.began - bar.before > to) break;
    const left = x(bar.began), right = x(bar.ended);
    if (right < drawn + 0.5 && !bar.failed) continue;  // it would be where the last one is
    if (bar.before || bar.after) {
      box("moving", bar.began - bar.before, bar.began, y + BAR / 4, BAR / 2);
      box("moving", bar.ended, bar.ended + bar.after, y + BAR / 4, BAR / 2);
    }
    box(bar.failed === bar.tasks ? "trouble" : "task", bar.began, bar.ended, y, BAR);
    drawn = right;
    if (right - left > 3 && left >= LEFT) { pen.fillStyle = colour.edge; pen.fillRect(left, y, 1, BAR) }
    if (bar.attempts) { pen.fillStyle = colour.again; pen.fillRect(Math.max(left, LEFT), y + BAR - 3,
      Math.max(Math.min(right, wide - 12) - Math.max(left, LEFT), 1), 3) }
    if (bar.ends.length > 1 && right - left > 3 * bar.ends.length) drawTasks(bar, y);
  }
}
function drawTasks(bar, y) {
  for (let n = first(bar.ends, from, (list, i) => list[i]); n < bar.ends.length; n++) {
    const begin = n ? bar.ends[n - 1] : bar.began;
    if (begin > to) break;
    const index = bar.start + bar.marks[n] - 1;
    if (failed[bar.call].has(index)) box("trouble", begin, bar.ends[n], y, BAR);
    pen.fillStyle = colour.edge;
    if (n && x(begin) >= LEFT) pen.fillRect(x(begin) - 0.5, y, 1, BAR);
    const room = x(bar.ends[n]) - x(begin);
    if (room > 44 && x(begin) >= LEFT) {
      pen.fillStyle = "#fff";
      pen.fillText(index, x(begin) + 5, y + BAR / 2 + 0.5, room - 8);
    }
  }
}
function drawEvents(row, y) {
  let last = -9;
  for (const event of row.events) {
    if (event.since !== undefined) {
      pen.globalAlpha = 0.45;
      box("trouble", event.since, event.at, y, BAR);
      pen.globalAlpha = 1;
    }
    const px = x(event.at);
    if (px < LEFT || px > wide - 8 || px < last + 2) continue;
    last = px;
    pen.fillStyle = colour.trouble;
    pen.strokeStyle = colour.edge;
    const mark = new Path2D(`M${px} ${y + 5}l-5-10h10z`);
    pen.stroke(mark);
    pen.fill(mark);
  }
}
function step() {
  const least = (to - from) / Math.max(2, (wide - LEFT) / 110);
  const power = 10 ** Math.floor(Math.log10(least));
  return power * [1, 2, 5, 10].find(n => n * power >= least);
}
function draw() {
  const high = TOP + data.rows.length * HIGH;
  pen.clearRect(0, 0, wide, high + FOOT);
  pen.font = "12px system-ui, sans-serif";
  pen.textBaseline = "middle";
  const each = step();
  for (let us = Math.ceil(from / each) * each; us <= to; us += each) {
    pen.fillStyle = colour.line;
    pen.fillRect(Math.round(x(us)), TOP - 6, 1, high - TOP + 10);
    pen.fillStyle = colour.faint;
    pen.textAlign = x(us) > wide - 40 ? "right" : "center";
    const digits = Math.max(0, Math.ceil(-Math.log10(each / 1e6) - 1e-9));
    pen.fillText((us / 1e6).toFixed(digits) + " s", x(us), high + 15);
  }
  data.rows.forEach((row, number) => {
    const y = TOP + number * HIGH;
    pen.fillStyle = colour.row;
    pen.fillRect(LEFT, y, wide - LEFT - 12, BAR);
    pen.fillStyle = colour.soft;
    pen.textAlign = "right";
    pen.fillText(row.name, LEFT - 10, y + BAR / 2, LEFT - 16);
    pen.textAlign = "left";
    if (row.kind === "caller" && row.main) for (const call of data.calls)
      box("call", call.began, call.ended - (to - from) / wide, y - 5, 3);
    for (const [begin, end] of row.starts) box("starting", begin, end, y, BAR);
    for (const [begin, end] of row.loads) box("loading", begin, end, y, BAR);
    drawBars(row, y);
    drawEvents(row, y);
  });
}
function view(begin, end) {
  const span = Math.min(Math.max(end - begin, 5), data.span * 1.02);
  from = Math.min(Math.max(begin, -0.01 * data.span), 1.01 * data.span - span);
  to = from + span;
  draw();
}
const zoom = (factor, centre = (from + to) / 2) =>
  view(centre - (centre - from) / factor, centre + (to - centre) / factor);
const fit = () => view(-0.005 * data.span, 1.005 * data.span);

function find(px, py) {  // what is there: its row, bar and task
  const number = Math.floor((py - TOP + 4) / HIGH), row = data.rows[number], us = at(px);
  if (!row || px < LEFT) return null;
  const slack = (to - from) / (wide - LEFT) * 3;
  const over = TOP + number * HIGH + 6;
  const event = row.events.find(e => (Math.abs(x(e.at) - px) < 6 && py < over) ||
    (e.since !== undefined && e.since <= us && us <= e.at));
  if (event) return { row, event };
  let near = null;
  for (let n = first(row.reach, us - slack, (list, i) => list[i]); n < row.bars.length; n++) {
    const bar = row.bars[n];
    if (bar.began - bar.before > us + slack) break;
    if (bar.ended + bar.after >= us - slack) near = bar;
    if (bar.began <= us && us <= bar.ended) return { row, bar, us };
  }
  if (near) return { row, bar: near, us };
  const span = name => (row[name] || []).find(([a, b]) => a - slack <= us && us <= b + slack);
  if (span("loads")) return { row, what: "loading the function", span: span("loads") };
  if (span("starts")) return { row, what: "starting the process", span: span("starts") };
  return null;
}
function tell(found) {
  tip.replaceChildren();
  const { row, bar, us, event, what, span } = found, line = (text, name) => make("div", text, tip, name);
  if (event) {
    make("b", `task ${event.index}: ${event.kind}`, tip);
    line(event.text, "bad");
    const input = data.calls[event.call].inputs[event.index];
    if (input) make("code", input, line());
    return line(`at ${moment(event.at)}, ${row.name}`);
  }
  if (what) {
    make("b", what, tip);
    return line(`${time(span[1] - span[0])}, from ${moment(span[0])}, ${row.name}`);
  }
  const call = data.calls[bar.call], many = bar.ends.length > 1;
  let n = many ? Math.min(first(bar.ends, us, (list, i) => list[i]), bar.ends.length - 1) : 0;
  const last = many ? bar.start + bar.marks[n] - 1 : bar.start + bar.tasks - 1;
  const start = many && n ? bar.start + bar.marks[n - 1] : bar.start;
  const begin = many && n ? bar.ends[n - 1] : bar.began, end = many ? bar.ends[n] : bar.ended;
  make("b", start === last ? `task ${last}` : `tasks ${start} to ${last}`, tip);
  make("span", ` of ${call.name}`, tip);
  const input = call.inputs[last];
  if (input && (start === last || many)) make("code", input, line());
  const bad = failed[bar.call].get(last);
  if (bad && start === last) line(bad.text, "bad");
  line(`took ${time(end - begin)}, from ${moment(begin)} to ${moment(end)}`);
  if (bar.attempts) line(`attempt ${bar.attempts + 1}`);
  const parts = [row.name];
  if (bar.tasks > 1) parts.push(`in ${bar.joined > 1 ? bar.joined + " chunks" : "a chunk"} of ` +
    `${bar.tasks.toLocaleString("en")} tasks, ${time(bar.ended - bar.began)}`);
  if (bar.sent) parts.push(`${size(bar.sent)} sent`);
  if (bar.bytes) parts.push(`${size(bar.bytes)} back`);
  if (bar.failed && start !== last) parts.push(`${bar.failed} failed`);
  line(parts.join(", "));
}
let drag = null;
canvas.addEventListener("pointermove", event => {
  if (drag) {
    const us = (drag.px - event.offsetX) / (wide - LEFT) * (drag.to - drag.from);
    view(drag.from + us, drag.to + us);
  }
  const found = drag ? null : find(event.offsetX, event.offsetY);
  if (tip.hidden = !found) return;
  tell(found);
  const right = event.clientX + 16 + tip.offsetWidth > innerWidth;
  const below = event.clientY + 16 + tip.offsetHeight > innerHeight;
  tip.style.left = Math.max(4, right ? event.clientX - 12 - tip.offsetWidth : event.clientX + 14) + "px";
  tip.style.top = Math.max(4, below ? event.clientY - 12 - tip.offsetHeight : event.clientY + 14) + "px";
});
canvas.addEventListener("pointerleave", () => { tip.hidden = true });
canvas.onpointerdown = event => {
  drag = { px: event.offsetX, from, to };
  canvas.setPointerCapture(event.pointerId);
};
canvas.onpointerup = canvas.onpointercancel = () => { drag = null };
canvas.ondblclick = event => zoom(4, at(event.offsetX));
canvas.addEventListener("wheel", event => {
  if (event.ctrlKey || event.metaKey) {
    event.preventDefault();
    zoom(Math.exp(-event.deltaY / 200), at(event.offsetX));
  } else if (Math.abs(event.deltaX) > Math.abs(event.deltaY)) {
    event.preventDefault();
    const us = from + event.deltaX / (wide - LEFT) * (to - from);
    view(us, us + to - from);
  }
}, { passive: false });
canvas.addEventListener("keydown", event => {
  const part = (to - from) / 5;
  const todo = { "+": () => zoom(2), "=": () => zoom(2), "-": () => zoom(0.5), "0": fit,
    ArrowLeft: () => view(from - part, to - part), ArrowRight: () => view(from + part, to + part) };
  if (todo[event.key]) { event.preventDefault(); todo[event.key]() }
});
$("in").onclick = () => zoom(2);
$("out").onclick = () => zoom(0.5);
$("all").onclick = fit;

const PARTS = { tasks: "task", "moving data": "moving", starting: "starting", loading: "loading",
  waiting: "waiting" };
function go(row, act) {
  Object.assign(row, { className: "go", tabIndex: 0, onclick: act });
  row.onkeydown = event => { if (event.key === "Enter") act() };
}
function show(number) {
  chosen = number;
  const call = data.calls[number];
  for (const id of ["tiles", "shares", "parts", "slow", "rows", "list"]) $(id).replaceChildren();
  $("title").textContent = call.title;
  $("chosen").textContent = call.why;
  $("verdict").textContent = call.verdict;
  $("verdict").hidden = !call.verdict;
  for (const [value, name] of call.tiles)
    make("div", undefined, $("tiles"), "tile").append(make("b", value), make("span", name));
  $("where").hidden = !call.shares.length;
  for (const [name, share, part] of call.shares) {
    if (!part) continue;
    const piece = make("i", undefined, $("shares"));
    piece.style.flex = `${part} 1 0`;
    piece.style.background = `var(--${PARTS[name]})`;
    piece.title = `${name} ${share}`;
    const key = make("span", undefined, $("parts"));
    make("i", undefined, key).style.background = `var(--${PARTS[name]})`;
    key.append(`${name} `);
    make("b", share, key);
  }
  for (const [took, index, text] of call.slowest) {
    const row = make("tr", undefined, $("slow"));
    make("td", took, row, "n");
    make("td", `task ${index}`, row, "n");
    make("td", text, row, "i");
    go(row, () => aim(number, parseInt(index)));
  }
  for (const [name, text] of call.rows)
    make("tr", undefined, $("rows")).append(make("th", name), make("td", text));
  $("calls").hidden = data.calls.length < 2;
  data.calls.forEach((other, n) => {
    const row = make("tr", undefined, $("list"));
    make("td", `${n + 1}`, row, "n");
    make("td", other.title, row);
    go(row, () => { show(n); view(other.began - 0.02 * (other.ended - other.began),
      other.ended + 0.02 * (other.ended - other.began)) });
    if (n === number) row.classList.add("on");
  });
}
function aim(call, index) {  // zoom to a task
  for (const row of data.rows) for (const bar of row.bars) {
    if (bar.call !== call || index < bar.start || index >= bar.start + bar.tasks) continue;
    const n = bar.ends.length > 1 ? bar.marks.findIndex(mark => bar.start + mark > index) : -1;
    const begin = n > 0 ? bar.ends[n - 1] : bar.began, end = n >= 0 ? bar.ends[n] : bar.ended;
    view(begin - (end - begin), end + (end - begin));
    canvas.scrollIntoView({ block: "nearest" });
    return;
  }
}
const there = new Set(["task"]);
for (const row of data.rows) {
  if (row.starts.length) there.add("starting");
  if (row.loads.length) there.add("loading");
  for (const bar of row.bars) {
    if (bar.before || bar.after) there.add("moving");
    if (bar.attempts) there.add("again");
  }
}
if (data.events.length) there.add("trouble");
for (const [name, text] of [["task", "tasks"], ["moving", "moving inputs and results"],
  ["starting", "starting a worker"], ["loading", "loading the function"],
  ["again", "another attempt"], ["trouble", "failure, timeout or crash"],
  ["call", "the call, from begin to end"]]) {
  if (name !== "call" && !there.has(name)) continue;
  const key = make("span", undefined, $("colours"));
  make("i", undefined, key).style.background = `var(--${name})`;
  key.append(text);
}
if (data.cell) document.body.className = "cell";
canvas.setAttribute("aria-label", data.report);
show(data.main);
[from, to] = [-0.005 * data.span, 1.005 * data.span];
restyle();
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", restyle);
addEventListener("resize", resize);
