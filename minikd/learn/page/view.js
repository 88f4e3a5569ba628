// What the page shows: its state, what follows from the state, and the one function that draws it all.

const M = window.minikd,
  K = 10,
  MISSING = 3,
  LONGEST_RUN = 400;
const DATA = JSON.parse(document.getElementById("data").textContent);
const $ = (id) => document.getElementById(id);
const zeros = () => Array(K).fill(0);
const FIRST = DATA.digits.findIndex((digit) => digit.y === 7);

const state = {
  digit: FIRST,
  T: 1,
  log: false,
  z: zeros(),
  balanced: true,
  alpha: 1,
  hard: zeros(),
  soft: zeros(),
  distances: [],
  playing: false,
  shift: 0,
  stop: 0,
  done: STOPS.map(() => false),
  said: STOPS.map(() => ""),
};
const pictures = Object.fromEntries(
  ["teacher", "logits", "gradients", "both", "hard", "soft", "distance", "errors"].map((id) => [id, picture(id)]),
);

// ---- what follows from the state ------------------------------------------------------------------------------------

const temperature = (position) => {
  const T = 0.5 * 400 ** (position / 1000);
  return T < 10 ? Number(T.toPrecision(2)) : Math.round(T);
};
const position = (T) => Math.round((1000 * Math.log(T / 0.5)) / Math.log(400));

const largest = (x) => Math.max(...x.map(Math.abs));
const distance = (z, v) => Math.sqrt(z.reduce((total, one, i) => total + (one - v[i]) ** 2, 0) / K);

// The arrows, their limit for high T with its bound, and an axis that does not change while T moves.
function gradients(z, v, T, balanced) {
  const { C, dz } = M.softCrossEntropy(z, v, T);
  const limit = M.limitGradient(z, v, T);
  const bound = M.remainderBound(z, v, T);
  const weight = balanced ? T ** 2 : 1;
  const arrows = dz.map((one) => weight * one);
  const atEveryT = [1, 2, 4, 6, 8, 12, 16, 24, 40].flatMap((t) =>
    M.softCrossEntropy(z, v, t).dz.map((one) => t ** 2 * one),
  );
  return {
    C,
    arrows,
    limits: limit.map((one) => weight * one),
    bound: weight * bound,
    longest: largest(arrows),
    rising: arrows.filter((one) => one < 0).length,
    extent: 1.1 * Math.max(0.3, largest(M.limitGradient(z, v, 1)), largest(atEveryT)),
    relativeError: largest(dz.map((one, i) => one - limit[i])) / largest(limit),
    relativeBound: bound / largest(limit),
  };
}

// What the student without 3s does at a shift of their bias, and the best that any shift does.
function withoutThrees(shift) {
  const { counts, shifts, threes, honest } = DATA.missing;
  const [errors, missed, called] = counts[Math.round((shift - shifts[0]) * 10)];
  const all = counts.map(([one]) => one);
  const fewest = Math.min(...all);
  const missedAtZero = counts[shifts.indexOf(0)][1];
  return { errors, missed, called, threes, honest, missedAtZero, fewest, best: shifts[all.indexOf(fewest)] };
}

function view() {
  const digit = DATA.digits[state.digit];
  const { T, z, soft } = state;
  const v = M.zeroMean(digit.z);
  const order = [...v.keys()].sort((i, j) => v[j] - v[i]);
  const [top, second, , , faint] = order;
  const last = order[K - 3];
  return {
    ...state,
    ...gradients(z, v, T, state.balanced),
    ...withoutThrees(state.shift),
    y: digit.y,
    v,
    top,
    second,
    faint,
    last,
    p: M.softmax(v, T),
    q: M.softmax(z, T),
    p1: M.softmax(v),
    TText: T < 10 ? T.toFixed(T < 1 ? 2 : 1) : String(T),
    entropy: M.entropy(v, T),
    doubtful: doubts(digit),
    logitLimit: Math.max(12, Math.ceil(1.5 * largest(v))), // the same wherever the handles are
    spread: M.spread(v),
    steps: state.distances.length - 1,
    gap: (logits) => Math.abs(logits[second] - logits[last]).toFixed(1),
    softQ: M.softmax(soft),
    softAnswer: M.argmax(soft),
  };
}

const isWrong = ({ y, z }) => M.argmax(z) !== y;
const doubts = ({ z }) => Math.max(...M.softmax(z)) < 0.9;

function words(digit) {
  const p = M.softmax(digit.z),
    top = M.argmax(p);
  const answer = `The teacher says ${top}, with probability ${short(p[top])} at T = 1.`;
  return `Test digit ${digit.n}, labelled ${digit.y}. ${answer}`;
}

// ---- drawing --------------------------------------------------------------------------------------------------------

let waiting = false;
function render() {
  if (waiting) return;
  waiting = true;
  requestAnimationFrame(() => {
    waiting = false;
    const s = view();
    drawBar(s);
    drawTeacher(s);
    drawStudent(s);
    drawDescent(s);
    drawMissing(s);
    drawGuide(s);
  });
}

const listed = (values) => values.map((one, k) => `${k}: ${one}`).join(", ");

function drawBar(s) {
  $("T").value = position(s.T);
  $("T").setAttribute("aria-valuetext", s.TText);
  $("T-value").textContent = `T = ${s.TText}`;
  for (const radio of document.getElementsByName("axis")) radio.checked = (radio.value === "log") === s.log;
  for (const input of document.querySelectorAll("[data-bind]")) {
    const value = state[input.dataset.bind];
    if (input.type === "checkbox") input.checked = value;
    else input.value = value;
  }
  for (const output of document.querySelectorAll("[data-show]")) {
    output.textContent = output.dataset.show === "alpha" ? s.alpha.toFixed(2) : signed(s.shift);
  }
}

function drawTeacher(s) {
  $("entropy").textContent = `at T = ${s.TText}; entropy ${s.entropy.toFixed(2)} nats`;
  drawDistributions(pictures.teacher, {
    shown: [{ name: "teacher", q: s.p }],
    y: s.y,
    log: s.log,
    summary: `The teacher’s probabilities at T = ${s.TText}. ${listed(s.p.map(short))}.`,
  });
}

function drawStudent(s) {
  drawLogits(pictures.logits, { z: s.z, v: s.v, y: s.y, limit: s.logitLimit, kind: "studentbar" });
  pictures.logits.describe("The student’s logits: ten handles, one per class. Arrow keys move a handle.");
  for (let k = 0; k < K; k++) {
    pictures.logits.put(`handle${k}`, "circle", {
      class: "handle",
      cx: pictures.logits.scale.x(s.z[k]),
      cy: middle(k),
      r: 9,
      role: "slider",
      tabindex: "0",
      "data-class": String(k),
      "aria-label": `Student’s logit of ${k}`,
      "aria-valuemin": -s.logitLimit,
      "aria-valuemax": s.logitLimit,
      "aria-valuenow": s.z[k],
      "aria-valuetext": `${signed(s.z[k])}, the teacher’s is ${signed(s.v[k])}`,
    });
  }
  $("gradient-title").innerHTML = s.balanced ? "Gradient × <i>T</i>²" : "Plain gradient";
  drawGradients(pictures.gradients, {
    dz: s.arrows,
    limits: s.limits,
    bound: s.bound,
    y: s.y,
    extent: s.extent,
    summary:
      `Gradient of each class. ${listed(s.arrows.map((one) => signed(one, 3)))}. ` +
      `Limit for high T. ${listed(s.limits.map((one) => signed(one, 3)))}. ` +
      `Bound on the difference: ${s.bound.toPrecision(2)}.`,
  });
  drawDistributions(pictures.both, {
    shown: [
      { name: "teacher", q: s.p },
      { name: "student", q: s.q },
    ],
    y: s.y,
    log: s.log,
    summary: `Probabilities at T = ${s.TText}. Teacher: ${listed(s.p.map(short))}. Student: ${listed(s.q.map(short))}.`,
  });
  $("cost").textContent =
    `Cost C = ${s.C.toFixed(4)} nats. The least possible is the teacher’s entropy, ` +
    `${s.entropy.toFixed(4)}: the rest, ${Math.max(s.C - s.entropy, 0).toFixed(4)}, is yours to lower.`;
}

function drawDescent(s) {
  for (const [name, z] of [
    ["hard", s.hard],
    ["soft", s.soft],
  ]) {
    drawLogits(pictures[name], {
      z,
      v: s.v,
      y: s.y,
      limit: s.logitLimit,
      kind: `${name}bar`,
      summary:
        `Logits of the student that learns from the ${name === "hard" ? "label" : "teacher"}. ` +
        `${listed(z.map((one) => signed(one)))}. The teacher’s: ${listed(s.v.map((one) => signed(one)))}.`,
    });
  }
  const top = Math.max(5, 5 * Math.ceil(Math.max(...s.distances.flat()) / 5));
  const high = s.steps > 100 ? LONGEST_RUN : 100;
  drawLines(pictures.distance, {
    lines: ["hard", "soft"].map((kind, i) => ({
      name: kind,
      kind,
      points: s.distances.map((both, step) => [step, both[i]]),
    })),
    low: 0,
    high,
    top,
    height: 190,
    ticks: [0, high / 4, high / 2, (3 * high) / 4, high],
    yTicks: [0, top / 2, top],
    cursor: s.steps,
    xName: "steps",
    summary:
      `Distances from the teacher’s logits after ${s.steps} steps: ` +
      `from the label ${s.distances[s.steps][0].toFixed(2)}, from the teacher ${s.distances[s.steps][1].toFixed(2)}.`,
  });
  const [hard, soft] = s.distances[s.steps];
  $("steps").textContent =
    `After ${s.steps} steps: from the label (dashed, green) ${hard.toFixed(2)} nats, ` +
    `from the teacher (solid, orange) ${soft.toFixed(2)} nats.`;
  $("play").textContent = s.playing ? "Pause" : "Play";
  $("play").setAttribute("aria-pressed", String(s.playing));
}

function drawMissing(s) {
  const { shifts, counts, honest, digits } = DATA.missing;
  const lines = [
    ["all", "all errors"],
    ["missed", "3s missed"],
    ["called", "others called 3"],
  ].map(([kind, name], i) => ({ name, kind, points: shifts.map((one, n) => [one, counts[n][i]]) }));
  drawLines(pictures.errors, {
    lines,
    low: shifts[0],
    high: shifts[shifts.length - 1],
    top: 1000,
    height: 240,
    ticks: [-2, 0, 2, 4, 6, 8],
    yTicks: [0, 500, 1000],
    cursor: s.shift,
    marks: [{ at: honest, name: "found without labels" }],
    xName: "shift of the bias of 3, in nats",
    summary:
      `At a shift of ${signed(s.shift)}: ${s.errors} errors, ${s.missed} 3s missed, ` + `${s.called} others called 3.`,
  });
  $("errors-key")
    .querySelectorAll("b")
    .forEach((one, i) => {
      one.textContent = [s.errors, s.missed, s.called][i];
    });
  digits.forEach((digit, i) => {
    const before = M.argmax(digit.z),
      said = M.argmax(M.shiftClass(digit.z, MISSING, s.shift));
    const face = $("faces").children[i];
    face.className = said === before ? "" : said === digit.y ? "right" : "wrong";
    const verdict = said === digit.y ? "✓" : "✗";
    face.querySelector("figcaption").textContent =
      said === before ? `${said} ${verdict}` : `${before} → ${said} ${verdict}`;
  });
}

let speech = 0;
function drawGuide(s) {
  const { stop, done, said } = state,
    now = STOPS[stop];
  if (now.done(s)) {
    done[stop] = true;
    said[stop] = now.say(s);
  }
  $("stop-number").href = `#${now.at}`;
  $("stop-number").textContent = `Stop ${stop + 1}/${STOPS.length}${done[stop] ? " ✓" : ""}`;
  $("ask").textContent = now.ask(s);
  $("next").textContent = stop === STOPS.length - 1 ? "To the end" : "Next ›";
  $("next").className = done[stop] ? "ready" : "";
  $("back").disabled = stop === 0;
  [...$("dots").children].forEach((dot, i) => {
    dot.className = `${done[i] ? "done" : ""} ${i === stop ? "here" : ""}`;
  });
  if ($("say").textContent === said[stop]) return;
  $("say").textContent = said[stop];
  clearTimeout(speech); // a screen reader hears the answer once the hand rests
  speech = setTimeout(() => {
    $("spoken").textContent = said[stop];
  }, 700);
}
