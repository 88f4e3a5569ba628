// Pictures in SVG, at the page's own pixels, so that text keeps its size on a phone. A part is made once and then
// moved: a handle stays under the finger that drags it.

const ROW = 28,
  TOP = 4,
  AXIS = 24,
  LABEL = 26; // pixels
const SUPERSCRIPT = "⁰¹²³⁴⁵⁶⁷⁸⁹";

// 0.52, 0.0031, 2 × 10⁻⁷: two digits, and no more zeros than can be counted at a glance
function short(x) {
  if (x === 0) return "0";
  if (x >= 0.9995) return x.toFixed(x < 0.999995 ? 5 : 0);
  if (x >= 0.0995) return x.toFixed(x > 0.985 ? 3 : 2);
  if (x >= 0.00095) return Number(x.toPrecision(2)).toString();
  const [digits, power] = x.toExponential(0).split("e-");
  return `${digits} × ${tenToMinus(power)}`;
}

const tenToMinus = (power) => `10⁻${[...String(power)].map((digit) => SUPERSCRIPT[digit]).join("")}`;
const plain = (x) => (x < 0 ? "−" : "") + Math.abs(x);

const signed = (x, digits = 1) => (x < 0 ? "−" : "+") + Math.abs(x).toFixed(digits);

function picture(id) {
  const svg = document.getElementById(id),
    parts = new Map();
  const put = (key, tag, attributes, text) => {
    let node = parts.get(key);
    if (!node) {
      node = document.createElementNS(svg.namespaceURI, tag);
      parts.set(key, svg.appendChild(node));
    }
    for (const [name, value] of Object.entries(attributes)) {
      const written = typeof value === "number" ? String(Math.round(value * 100) / 100) : value;
      if (node.getAttribute(name) !== written) node.setAttribute(name, written);
    }
    if (text !== undefined && node.textContent !== text) node.textContent = text;
    return node;
  };
  return {
    svg,
    put,
    width: svg.clientWidth, // read once, as reading it between two changes makes the browser lay the page out
    measure() {
      this.width = svg.clientWidth;
    },
    describe(words) {
      if (svg.getAttribute("aria-label") !== words) svg.setAttribute("aria-label", words);
    },
  };
}

const middle = (k) => TOP + ROW * k + ROW / 2;
const bottom = (K) => TOP + ROW * K;

// The digits beside the rows, the label's with a ring, and an axis with its ticks. Returns the scale.
function rows(pic, { K, y, low, high, ticks, right = 12, format = String }) {
  const left = LABEL + 8,
    width = pic.width - left - right;
  const x = (value) => left + (width * (Math.min(Math.max(value, low), high) - low)) / (high - low);
  pic.svg.style.height = `${bottom(K) + AXIS}px`;
  ticks.forEach((tick, i) => {
    pic.put(`grid${i}`, "line", {
      class: tick === 0 ? "zero" : "grid",
      x1: x(tick),
      x2: x(tick),
      y1: TOP,
      y2: bottom(K),
    });
    pic.put(
      `tick${i}`,
      "text",
      { class: "tick", x: x(tick), y: bottom(K) + 17, "text-anchor": "middle" },
      format(tick),
    );
  });
  for (let k = 0; k < K; k++) {
    pic.put(`ring${k}`, "circle", {
      class: "ring",
      cx: 12,
      cy: middle(k),
      r: 11,
      visibility: k === y ? "visible" : "hidden",
    });
    pic.put(`name${k}`, "text", { class: "name", x: 12, y: middle(k) + 5, "text-anchor": "middle" }, String(k));
  }
  return x;
}

// Bars of one or two distributions, on a linear or a logarithmic axis, with their numbers.
function drawDistributions(pic, { shown, y, log, summary }) {
  const K = shown[0].q.length,
    FLOOR = -12;
  const place = (q) => (log ? Math.log10(Math.max(q, 10 ** FLOOR)) : q);
  const x = rows(pic, {
    K,
    y,
    low: log ? FLOOR : 0,
    high: log ? 0 : 1,
    right: 92,
    ticks: log ? [-12, -6, 0] : [0, 0.5, 1],
    format: (tick) => (!log ? String(tick) : tick === 0 ? "1" : tenToMinus(-tick)),
  });
  const height = shown.length === 1 ? 16 : 10;
  for (let k = 0; k < K; k++) {
    shown.forEach(({ q, name }, i) => {
      const top = middle(k) + (shown.length === 1 ? -8 : i === 0 ? -11 : 1);
      const start = x(log ? FLOOR : 0);
      pic.put(`${name}${k}`, "rect", {
        class: name,
        x: start,
        y: top,
        height,
        width: Math.max(x(place(q[k])) - start, 0),
      });
    });
    shown.forEach(({ q }, i) => {
      const [size, baseline] = shown.length === 1 ? ["value", 5] : ["value small", i === 0 ? -2 : 10];
      pic.put(`value${i} ${k}`, "text", { class: size, x: x(place(q[k])) + 6, y: middle(k) + baseline }, short(q[k]));
    });
  }
  pic.describe(summary);
}

// The student's logits, as bars from zero or as handles, with the teacher's as marks.
function drawLogits(pic, { z, v, y, limit, kind, summary }) {
  const K = z.length;
  const x = rows(pic, {
    K,
    y,
    low: -limit,
    high: limit,
    ticks: [-1, 0, 1].map((side) => side * Math.floor(limit / 5) * 5),
    format: plain,
  });
  pic.scale = { toLogit: (px) => -limit + (2 * limit * (px - x(-limit))) / (x(limit) - x(-limit)), x };
  for (let k = 0; k < K; k++) {
    const from = Math.min(x(0), x(z[k])),
      to = Math.max(x(0), x(z[k]));
    pic.put(`bar${k}`, "rect", { class: kind, x: from, width: to - from, y: middle(k) - 4, height: 8 });
    pic.put(`mark${k}`, "path", { class: "mark", d: `M${x(v[k])} ${middle(k) - 13}v26` });
  }
  if (summary) pic.describe(summary);
  return x;
}

// Each class's gradient as an arrow from zero, the limit as a diamond, and the bound as a band around it.
function drawGradients(pic, { dz, limits, bound, y, extent, summary }) {
  const K = dz.length,
    step = extent > 2 ? Math.floor(extent) : Number((extent * 0.8).toPrecision(1));
  const x = rows(pic, { K, y, low: -extent, high: extent, ticks: [-step, 0, step], format: plain });
  for (let k = 0; k < K; k++) {
    const m = middle(k),
      from = x(limits[k] - bound),
      to = x(limits[k] + bound);
    pic.put(`band${k}`, "rect", { class: "band", x: from, width: Math.max(to - from, 0), y: m - 11, height: 22 });
    for (const end of [limits[k] - bound, limits[k] + bound]) {
      const visibility = Math.abs(end) < extent ? "visible" : "hidden"; // beyond the axis the band goes on
      pic.put(`edge${k}${end < limits[k]}`, "path", { class: "edge", d: `M${x(end)} ${m - 11}v22`, visibility });
    }
  }
  for (let k = 0; k < K; k++) {
    const m = middle(k),
      tip = x(dz[k]),
      head = Math.sign(dz[k]) * Math.min(9, Math.abs(tip - x(0)));
    pic.put(`shaft${k}`, "line", { class: "shaft", x1: x(0), x2: tip - head / 2, y1: m, y2: m });
    pic.put(`head${k}`, "path", { class: "head", d: `M${tip} ${m}l${-head} ${-head * 0.7}v${head * 1.4}z` });
    pic.put(`limit${k}`, "path", { class: "limit", d: `M${x(limits[k])} ${m - 6}l6 6l-6 6l-6 -6z` });
  }
  pic.describe(summary);
}

// Lines over a common x, with their names at their ends or at places of their own.
function drawLines(pic, { lines, low, high, top, height, ticks, yTicks, cursor, marks = [], xName, summary }) {
  const left = 44,
    right = 14,
    foot = 42,
    head = 12;
  const x = (value) => left + ((pic.width - left - right) * (value - low)) / (high - low);
  const y = (value) => height - foot - ((height - foot - head) * Math.min(value, top)) / top;
  pic.svg.style.height = `${height}px`;
  yTicks.forEach((tick, i) => {
    pic.put(`yGrid${i}`, "line", {
      class: tick === 0 ? "zero" : "grid",
      x1: left,
      x2: pic.width - right,
      y1: y(tick),
      y2: y(tick),
    });
    pic.put(`yTick${i}`, "text", { class: "tick", x: left - 6, y: y(tick) + 4, "text-anchor": "end" }, String(tick));
  });
  ticks.forEach((tick, i) =>
    pic.put(
      `xTick${i}`,
      "text",
      { class: "tick", x: x(tick), y: height - foot + 17, "text-anchor": "middle" },
      plain(tick),
    ),
  );
  pic.put(
    "xName",
    "text",
    { class: "tick", x: (left + pic.width - right) / 2, y: height - 6, "text-anchor": "middle" },
    xName,
  );
  marks.forEach(({ at, name }, i) => {
    pic.put(`markLine${i}`, "line", { class: "mark", x1: x(at), x2: x(at), y1: head, y2: y(0) });
    pic.put(`markName${i}`, "text", { class: "tick", x: x(at) - 5, y: head + 8, "text-anchor": "end" }, name);
  });
  for (const { name, kind, points } of lines) {
    const d = points.map(([at, value], i) => `${i ? "L" : "M"}${x(at).toFixed(1)} ${y(value).toFixed(1)}`).join("");
    pic.put(`line${name}`, "path", { class: `line ${kind}`, d });
  }
  if (cursor !== undefined) {
    pic.put("cursor", "line", { class: "cursor", x1: x(cursor), x2: x(cursor), y1: head, y2: y(0) });
    for (const { name, kind, points } of lines) {
      const nearest = points.reduce((best, one) =>
        Math.abs(one[0] - cursor) < Math.abs(best[0] - cursor) ? one : best,
      );
      pic.put(`dot${name}`, "circle", { class: `dot ${kind}`, cx: x(nearest[0]), cy: y(nearest[1]), r: 5 });
    }
  }
  pic.describe(summary);
}

// A digit's 28 × 28 bytes as ink on paper.
function paint(canvas, pixels) {
  const bytes = Uint8Array.from(atob(pixels), (one) => one.charCodeAt(0));
  canvas.width = canvas.height = 28;
  const context = canvas.getContext("2d"),
    image = context.createImageData(28, 28);
  bytes.forEach((ink, i) => image.data.set([255 - ink, 255 - ink, 255 - ink, 255], 4 * i));
  context.putImageData(image, 0, 0);
  return canvas;
}
