// What the reader does, and the parts of the page that are made once.

// ---- what the reader does -------------------------------------------------------------------------------------------

function set(changes) {
  Object.assign(state, changes);
  render();
}

function choose(index) {
  set({ digit: index, z: zeros(), playing: false });
  const digit = DATA.digits[index];
  for (const id of ["thumb", "large"]) paint($(id), digit.pixels).setAttribute("aria-label", words(digit));
  $("digit-words").textContent = words(digit);
  restart();
}

function restart() {
  const away = distance(zeros(), M.zeroMean(DATA.digits[state.digit].z));
  set({ hard: zeros(), soft: zeros(), distances: [[away, away]], playing: false });
}

function step() {
  const { y, z } = DATA.digits[state.digit],
    v = M.zeroMean(z),
    { T, alpha, balanced } = state;
  const hard = M.descend(state.hard, M.hardCrossEntropy(state.hard, y).dz);
  const soft = M.descend(state.soft, M.distillationLoss(state.soft, { v, y, T, alpha, balanced }).dz);
  const distances = [...state.distances, [distance(hard, v), distance(soft, v)]];
  set({ hard, soft, distances, playing: state.playing && distances.length <= LONGEST_RUN });
}

let frame = 0;
function play() {
  if (!state.playing) return;
  if (frame++ % 2 === 0) step(); // thirty steps a second
  requestAnimationFrame(play);
}

function visit(stop) {
  const last = stop === STOPS.length;
  $(last ? "end-title" : STOPS[stop].at).scrollIntoView();
  if (!last) set({ stop });
}

function moveHandle(k, value) {
  const limit = view().logitLimit;
  const z = [...state.z];
  z[k] = Math.min(Math.max(Math.round(10 * value) / 10, -limit), limit);
  set({ z });
}

function listenToHandles() {
  const { svg } = pictures.logits;
  const at = (event) => {
    const box = svg.getBoundingClientRect();
    return { px: event.clientX - box.left, k: Math.floor((event.clientY - box.top - TOP) / ROW) };
  };
  let held = null; // the class, and where on the handle the finger is
  svg.addEventListener("pointerdown", (event) => {
    const { px, k } = at(event);
    const off = k in state.z ? pictures.logits.scale.x(state.z[k]) - px : Infinity;
    if (Math.abs(off) > 24) return;
    held = { k, off };
    svg.setPointerCapture(event.pointerId);
    svg.querySelector(`[data-class="${k}"]`).focus({ preventScroll: true });
  });
  svg.addEventListener("pointermove", (event) => {
    if (held) moveHandle(held.k, pictures.logits.scale.toLogit(at(event).px + held.off));
  });
  for (const end of ["pointerup", "pointercancel"])
    svg.addEventListener(end, () => {
      setTimeout(() => {
        held = null;
      });
    });
  svg.addEventListener("click", (event) => {
    // beside a handle: it comes
    const { px, k } = at(event);
    if (!held && k in state.z && px > LABEL) moveHandle(k, pictures.logits.scale.toLogit(px));
  });
  svg.addEventListener("keydown", (event) => {
    const k = Number(event.target.dataset.class),
      z = state.z[k];
    const to = {
      ArrowLeft: z - 0.5,
      ArrowDown: z - 0.5,
      ArrowRight: z + 0.5,
      ArrowUp: z + 0.5,
      PageDown: z - 5,
      PageUp: z + 5,
      Home: -Infinity,
      End: Infinity,
    }[event.key];
    if (to === undefined) return;
    event.preventDefault();
    moveHandle(k, to);
  });
}

function listen() {
  $("T").addEventListener("input", (event) => set({ T: temperature(Number(event.target.value)) }));
  for (const radio of document.getElementsByName("axis")) {
    radio.addEventListener("change", () => set({ log: radio.value === "log" }));
  }
  for (const input of document.querySelectorAll("[data-bind]")) {
    input.addEventListener("input", () =>
      set({ [input.dataset.bind]: input.type === "checkbox" ? input.checked : Number(input.value) }),
    );
  }
  $("know-nothing").addEventListener("click", () => set({ z: zeros() }));
  $("know-all").addEventListener("click", () => set({ z: M.zeroMean(DATA.digits[state.digit].z) }));
  $("play").addEventListener("click", () => {
    if (!state.playing && state.distances.length > LONGEST_RUN) restart();
    set({ playing: !state.playing });
    play();
  });
  $("step").addEventListener("click", step);
  $("restart").addEventListener("click", restart);
  $("next").addEventListener("click", () => visit(state.stop + 1));
  $("back").addEventListener("click", () => visit(state.stop - 1));
  $("fold").addEventListener("click", () => {
    $("stop").hidden = !$("stop").hidden;
    $("fold").textContent = $("stop").hidden ? "Show" : "Hide";
    $("fold").setAttribute("aria-expanded", String(!$("stop").hidden));
  });
  new ResizeObserver(() => {
    Object.values(pictures).forEach((one) => one.measure());
    render();
  }).observe(document.body);
  listenToHandles();
}

// ---- the parts that are made once -----------------------------------------------------------------------------------

function make(tag, attributes, ...children) {
  const node = Object.assign(document.createElement(tag), attributes);
  node.append(...children);
  return node;
}

function build() {
  DATA.digits.forEach((digit, i) => {
    const radio = make("input", { type: "radio", name: "digit", checked: i === FIRST, ariaLabel: words(digit) });
    radio.addEventListener("change", () => choose(i));
    const sign = isWrong(digit) ? "×" : doubts(digit) ? "•" : "";
    const label = make(
      "label",
      { title: words(digit) },
      radio,
      paint(make("canvas", { className: "digit", ariaHidden: "true" }), digit.pixels),
    );
    if (sign) label.append(make("span", { textContent: sign, ariaHidden: "true" }));
    $("digits").append(label);
  });
  for (const digit of DATA.missing.digits) {
    const image = paint(
      make("canvas", { className: "digit", role: "img", ariaLabel: `Test digit ${digit.n}, a ${digit.y}` }),
      digit.pixels,
    );
    $("faces").append(make("figure", {}, image, make("figcaption", {})));
  }
  [
    ["all", "errors in all"],
    ["missed", "3s missed"],
    ["called", "others called 3"],
  ].forEach(([kind, name]) => {
    const item = make("li", {});
    const line = `<svg aria-hidden="true"><path class="line ${kind}" d="M0 11h24"/></svg>`;
    item.innerHTML = `${line}<span>${name}: <b></b></span>`;
    $("errors-key").append(item);
  });
  $("dots").append(...STOPS.map(() => make("i", {})));
}

build();
listen();
choose(FIRST);
$("digits").scrollLeft = $("digits").children[FIRST].offsetLeft - $("digits").offsetLeft - 120;
