// The ten stops of the guided path. Each has a place on the page, asks for something, knows when it was
// done, and answers to what the reader did.
// `s` is what the page shows now: see `view` in page.js.

const percent = (x) => `${(100 * x).toFixed(x < 0.0995 ? 1 : 0)} %`;

const STOPS = [
  {
    at: "teacher-figure",
    ask: (s) => `Raise T until the bar of class ${s.faint} can be seen. What happens to class ${s.top}?`,
    done: (s) => s.T > 1.5 && s.p[s.faint] > 0.02,
    say: (s) =>
      `At T = 1 class ${s.faint} has a probability of ${short(s.p1[s.faint])}, at T = ${s.TText} of ${short(s.p[s.faint])}. ` +
      `Class ${s.top} pays for it: it falls from ${short(s.p1[s.top])} to ${short(s.p[s.top])}. ` +
      `It is still the largest, because T divides all logits alike and never changes their order.`,
  },
  {
    at: "teacher-figure",
    ask: () => "Bring T back to about 1, and switch to the logarithmic axis. Where were the small bars?",
    done: (s) => s.T >= 0.9 && s.T <= 1.3 && s.log,
    say: (s) =>
      `They were there all along. The teacher ranks the ${s.second} (${short(s.p[s.second])}) above the ${s.faint} ` +
      `(${short(s.p[s.faint])}). But a cost weighs each class with its probability, as the linear axis ` +
      `shows it. Probabilities this small hardly teach.`,
  },
  {
    at: "teacher-figure",
    ask: () => "Drag T to its right end. What is left of the answer?",
    done: (s) => s.T > 150,
    say: (s) =>
      `Almost nothing can be seen: the ten probabilities lie between ${short(Math.min(...s.p))} and ` +
      `${short(Math.max(...s.p))}. The entropy, which measures doubt, is ${s.entropy.toFixed(3)} nats, and more than ` +
      `log 10 = 2.303 is impossible. This teacher teaches most between about T = 3 and T = 30.`,
  },
  {
    at: "strip",
    ask: () => "Set T back to 1 and the axis to linear. Then choose a digit with a dot, which the teacher doubts.",
    done: (s) => s.doubtful && s.T < 1.5 && !s.log,
    say: (s) =>
      `Here the teacher speaks up even at T = 1: ${short(s.p[s.top])} for the ${s.top}, ${short(s.p[s.second])} ` +
      `for the ${s.second}. A label would only say “${s.y}”. Look at the image: do you agree with the teacher?`,
  },
  {
    at: "student-figure",
    ask: (s) => `Now you are the student. Drag your ${s.top} to the teacher’s black mark. What do the other arrows do?`,
    done: (s) => Math.abs(s.z[s.top] - s.v[s.top]) < 0.8,
    say: (s) =>
      `Your q of ${s.top} is ${short(s.q[s.top])}, the teacher’s p is ${short(s.p[s.top])}. You moved one logit, ` +
      `and every arrow changed, because the q add up to one. For the same reason the ten arrows always add up ` +
      `to zero: now ${s.rising} of them point to the left, where a step raises the logit.`,
  },
  {
    at: "student-figure",
    ask: () => "Set T to about 20, and untick “multiply by T²”. Where did the arrows go?",
    done: (s) => !s.balanced && s.T >= 15,
    say: (s) =>
      `The axis is the same as before, but the longest arrow is now ${short(s.longest)}. With T² it is ` +
      `${Math.round(s.T ** 2)} times as long. The gradient shrinks as 1/T², ` +
      `so without T² a high temperature would hardly teach at all.`,
  },
  {
    at: "student-figure",
    ask: () => "Tick “multiply by T²” again. Raise T until the arrow heads lie on the diamonds, to within a tenth.",
    done: (s) => s.balanced && s.relativeError < 0.1,
    say: (s) =>
      `At T = ${s.TText} the arrows miss the diamonds by at most ${percent(s.relativeError)} of the ` +
      `farthest diamond’s distance from 0. The theorem, drawn as a band, allows ` +
      `${percent(s.relativeBound)}. “High” means high beside the spread of the teacher’s logits, which is ${s.spread.toFixed(0)} nats here.`,
  },
  {
    at: "descent-figure",
    ask: () => "Set T to about 8, and press Play. Which student finds out what the wrong answers are worth?",
    done: (s) => s.steps >= 60 && s.T >= 4 && s.T <= 30,
    say: (s) =>
      `After ${s.steps} steps the soft student puts the ${s.second} above the ${s.last} by ${s.gap(s.soft)} nats; ` +
      `the teacher’s gap is ${s.gap(s.v)}. The hard student’s is ${s.gap(s.hard)}, because a label makes no ` +
      `difference between wrong classes. ` +
      `Classes with a very low logit come last, because their p and q are both nearly zero.`,
  },
  {
    at: "descent-figure",
    ask: () =>
      "Choose a digit with a cross, which the teacher gets wrong: the image at the top leads there, “Stop 9/10” " +
      "leads back. Press Play, then lower α until the soft student gives the label’s answer.",
    done: (s) => s.top !== s.y && s.steps >= 20 && s.alpha < 1 && s.softAnswer === s.y,
    say: (s) =>
      `With α = ${s.alpha.toFixed(2)} the student says ${s.y}, as the label does, although its teacher says ` +
      `${s.top}. It still has the ${s.top} at ${short(s.softQ[s.top])}. ` +
      `A student with α = 1 repeats its teacher’s errors.`,
  },
  {
    at: "missing-figure",
    ask: () => "Raise the bias of 3, and watch the digits below. Where are the fewest errors, and what do they cost?",
    done: (s) => s.shift >= 2,
    say: (s) =>
      `Raised by ${s.shift.toFixed(1)}, it recognises ${s.threes - s.missed} of ` +
      `${s.threes.toLocaleString("en")} 3s, which it never saw; without the shift, ${s.threes - s.missedAtZero}. ` +
      `In return it calls ${s.called} other digits a 3. It makes ${s.errors} errors. ` +
      `The fewest are ${s.fewest}, at ${s.best.toFixed(1)}. You can also choose without labels: shift ` +
      `until the student says “3” as often as its teacher does. That is at ${s.honest.toFixed(2)}.`,
  },
];
