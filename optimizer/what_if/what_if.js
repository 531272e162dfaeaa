// The arithmetic of the planner on a chain of costs (optimizer/what_if/chain.py), and a picture to move cuts in.
// Formulas: optimizer/costs/costs.py (what a stage costs), optimizer/schedule/stage_requirements.py (what it holds), rounds.py
// (noise), optimizer/schedule/simulator.py and optimizer/plan/noise.py (throughput and its range).
"use strict";
const whatIf = (() => {
  const NS = 1e9, FEWEST = 10, MOST_SIMULATED = 5000, TAILS = [0.05, 0.95], Z = 1.64;

  const lastOf = stretch => stretch.layers[stretch.layers.length - 1];
  const sum = (items, of) => items.reduce((total, item) => total + of(item), 0);

  // What each stage costs and holds; cuts are counts of stretches before them.
  function stagesOf(chain, cuts) {
    const bounds = [0, ...cuts, chain.stretches.length], count = bounds.length - 1;
    const none = {down_ns: 0, up_ns: 0, down_bytes: 0, up_bytes: 0};
    const cutAt = place => chain.cuts[place - 1] || none;
    return Array.from({length: count}, (_, stage) => {
      const own = chain.stretches.slice(bounds[stage], bounds[stage + 1]), last = stage === count - 1;
      const behind = last ? none : cutAt(bounds[stage + 1]), before = stage ? cutAt(bounds[stage]) : none;
      const held = chain.pipelines[count].held[stage];
      const forward = sum(own, each => each.forward_ns) + last * chain.loss_forward_ns;
      const backward = sum(own, each => each.backward_ns) + last * chain.loss_backward_ns;
      const later = chain.splits ? Math.max(0, sum(own, each => each.weight_gradients_ns + each.accumulate_ns)) / NS : 0;
      const update = sum(own, each => last ? each.update_last_ns : each.update_ns) / NS;
      const accumulate = sum(own, each => each.accumulate_ns) / NS;
      const step = sum(own, each => each.step_ns) + last * chain.loss_step_ns;
      const alone = sum(own, each => each.alone_ns) + last * chain.loss_alone_ns;
      return {
        layers: sum(own, each => each.layers.length),
        last: lastOf(own[own.length - 1]),
        forward_s: (forward + behind.down_ns) / NS,
        backward_s: (backward + before.up_ns) / NS + accumulate - later,
        later_s: later,
        update_s: update,
        total_s: (forward + backward + behind.down_ns + before.up_ns) / NS + accumulate + update,
        sent_bytes: behind.down_bytes + before.up_bytes,
        memory_bytes: sum(own, each => each.frozen_bytes + each.learning_bytes * held[0]
            + (each.saved_bytes - each.cast_bytes) * held[1] + each.left_bytes * held[2] + each.cast_bytes * held[3])
          + behind.down_bytes * held[4] + behind.up_bytes * held[5]
          + before.down_bytes * held[6] + before.up_bytes * held[7] + chain.heap_bytes,
        alone: step ? Math.min(1, alone / step) : 1,
        noise: chain.pace.map((pace, round) => step ? Math.round(
          (sum(own, each => each.rounds_ns[round]) + last * chain.loss_rounds_ns[round]) / (step * pace) * 1e4) / 1e4 : 1),
      };
    });
  }

  // What a stage takes, of what it costs beside busy cores, for its neighbours are other stages.
  function ease(chain, stages) {
    const slowest = Math.max(...stages.map(own => own.total_s)), whole = sum(stages, own => own.total_s);
    for (const own of stages) {
      const busy = chain.neighbours && slowest ? Math.min(1, (whole - own.total_s) / slowest / chain.neighbours) : 1;
      own.ease = own.alone + (1 - own.alone) * busy;
    }
  }

  // What a stage may do next, first choice first (optimizer/schedule/schedule.py, Progress.choices).
  function choices(chain, pipeline, own, minibatches) {
    const [F, B, W, updated] = own.done, finished = chain.splits ? W : B;
    const ends = minibatch => (minibatch + 1) % chain.update_every === 0 || minibatch + 1 === minibatches;
    if (updated < finished && ends(finished - 1)) return ["U"];
    const fits = F - B < own.ahead && (!chain.splits || F - W < pipeline.between) && F < minibatches;
    if (!chain.synchronous) return fits ? ["F"] : B < F ? ["B"] : [];
    return [...(B < F ? ["B"] : []), ...(fits && !(updated < F && ends(F - 1)) ? ["F"] : []),
            ...(chain.splits && finished < B ? ["W"] : [])];
  }

  // When the last stage's backwards end: each stage does the first choice that all is there for, as soon as it is free.
  function ends(chain, pipeline, minibatches, duration) {
    const last = pipeline.ahead.length - 1, ended = [];
    const stages = pipeline.ahead.map(ahead => ({ahead, done: [0, 0, 0, 0], free: 0, F: [], B: [], U: []})), came = {};
    const due = own => (chain.splits ? own.done[2] : own.done[1]) - 1;
    let wakes = stages.map((_, stage) => [0, stage]), latest = 0;
    while (wakes.length) {
      let first = 0;
      wakes.forEach(([at, stage], place) => {
        const [best, other] = wakes[first];
        if (at < best || (at === best && stage < other)) first = place;
      });
      const [[now, stage]] = wakes.splice(first, 1), own = stages[stage];
      if (now < own.free) continue;
      const known = choices(chain, pipeline, own, minibatches).map(kind => {
        const waits = (kind === "F" && stage) || (kind === "B" && stage < last) || (kind === "U" && chain.meets);
        return [kind, waits ? own[kind][kind === "U" ? due(own) : own.done["FB".indexOf(kind)]] : now];
      }).filter(([, at]) => at !== undefined);
      const [kind] = known.find(([, at]) => at <= now) ?? [];
      if (!kind) {
        if (known.length) wakes.push([Math.min(...known.map(([, at]) => at)), stage]);
        continue;
      }
      const minibatch = kind === "U" ? due(own) : own.done["FBW".indexOf(kind)];
      if (kind === "U") own.done[3] = minibatch + 1;
      else own.done["FBW".indexOf(kind)]++;
      own.free = now + duration(stage, kind, minibatch);
      wakes.push([own.free, stage]);
      latest = Math.max(latest, own.free);
      if (kind === "B" && stage === last) ended.push(own.free);
      if (chain.meets && kind === (chain.splits ? "W" : "B") && choices(chain, pipeline, own, minibatches)[0] === "U") {
        const there = came[due(own)] = [...(came[due(own)] || []), own.free], at = Math.max(...there);
        for (const each of there.length > last ? stages.keys() : []) {
          stages[each].U[due(own)] = at;
          wakes.push([at, each]);
        }
      }
      const other = kind === "F" ? stage + 1 : kind === "B" ? stage - 1 : -1;
      if (stages[other]) {
        stages[other][kind][minibatch] = own.free;
        wakes.push([own.free, other]);
      }
    }
    return [ended, latest];
  }

  function quantile(values, share) {
    const sorted = [...values].sort((one, other) => one - other), at = (sorted.length - 1) * share, low = Math.floor(at);
    return sorted[low] + (at - low) * ((sorted[low + 1] ?? sorted[low]) - sorted[low]);
  }

  // What a split costs, holds, and is expected to give.
  function evaluate(chain, cuts) {
    const stages = stagesOf(chain, cuts), count = stages.length, pipeline = chain.pipelines[count];
    ease(chain, stages);
    const costs = stages.map(own => ({
      F: own.forward_s, B: own.backward_s, W: own.later_s, U: own.update_s * chain.update_every}));
    const period = (many, [begun, until], duration) => {
      const [ended, latest] = ends(chain, pipeline, many, duration);
      return begun ? ended[until - 1] - ended[begun - 1] : latest;
    };
    const plain = (stage, kind) => costs[stage][kind] * stages[stage].ease, [begun, until] = pipeline.steady;
    const whole = period(chain.minibatches, pipeline.steady, plain);
    const speed = whole ? chain.batch_size * (until - begun) / whole : 0;
    const found = {stages, samples_per_s: speed, low: null, high: null};
    const rounds = chain.pace.length, many = pipeline.simulated;
    const steady = period(many, pipeline.simulated_steady, plain);
    if (!rounds || !whole || !steady) return found;
    const turns = Math.min(rounds, Math.max(FEWEST, Math.floor(MOST_SIMULATED / (count * many))));
    const speeds = share => Array.from({length: turns}, (_, turn) => {
      const first = Math.floor(turn * rounds / turns);
      return steady / period(many, pipeline.simulated_steady, (stage, kind, minibatch) => {
        const round = (first + minibatch + Math.floor(stage * rounds / count)) % rounds;
        return costs[stage][kind] * share(stages[stage]) * stages[stage].noise[round];
      });
    });
    const expected = speeds(own => own.ease), mean = sum(expected, each => each) / turns;
    found.samples_per_s = speed * mean;
    const {noise} = stages.reduce((most, own) => own.total_s * own.ease > most.total_s * most.ease ? own : most);
    const middle = sum(noise, each => each) / rounds;
    const error = rounds > 1 ? Math.sqrt(sum(noise, each => (each - middle) ** 2) / (rounds - 1) / rounds) : 0;
    found.low = speed * Math.min(mean, quantile(speeds(() => 1), TAILS[0])) / (1 + Z * error);
    found.high = speed * Math.max(mean, quantile(speeds(own => own.alone), TAILS[1])) * (1 + Z * error);
    return found;
  }

  const make = (name, attributes = {}, ...inside) => {
    const made = name.startsWith("svg:") ? document.createElementNS("http://www.w3.org/2000/svg", name.slice(4))
      : document.createElement(name);
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    made.append(...inside);
    return made;
  };
  const mib = bytes => (bytes / 2 ** 20).toLocaleString("en", {maximumFractionDigits: bytes < 1e8 ? 1 : 0});
  const range = found => found.low === null ? "" : ` (${found.low.toFixed(1)} to ${found.high.toFixed(1)})`;

  const W = 480, H = 270, LEFT = 44, TOP = 12, RIGHT = W - 12, BOTTOM = H - 46;

  function show(place, chain, cutsNow, note, beside = []) {
    const counts = Object.keys(chain.pipelines), end = chain.stretches.length;
    if (!counts.length) return;
    const times = chain.stretches.map(each => each.step_ns), whole = sum(times, time => time) || 1;
    const layers = sum(chain.stretches, each => each.layers.length);
    const xs = [0], ys = [0];
    chain.stretches.forEach((each, at) => {
      xs.push(xs[at] + each.layers.length / layers);
      ys.push(ys[at] + times[at] / whole);
    });
    const X = place_ => LEFT + xs[place_] * (RIGHT - LEFT), Y = place_ => BOTTOM - ys[place_] * (BOTTOM - TOP);
    let cuts = cutsNow && chain.pipelines[cutsNow.length + 1] ? cutsNow
      : chain.pipelines[counts.includes("4") ? "4" : counts[0]].splits.best;

    const stages = make("select", {"aria-label": "stages"}, ...counts.map(n => make("option", {value: n}, `${n} stages`)));
    const borders = make("input", {type: "checkbox"});
    const said = make("p", {class: "what-if-said", "aria-live": "polite"});
    const picture = make("svg:svg", {viewBox: `0 0 ${W} ${H}`, class: "what-if-curve", role: "group",
                                     "aria-label": "cumulative time; each cut is a slider"});
    const body = make("tbody"), rivals = make("tbody"), take_away = make("code");
    const head = words => make("thead", {}, make("tr", {}, ...words.map(word => make("th", {}, word))));
    const everywhere = chain.stretches.every(each => each.border);
    place.replaceChildren(
      make("div", {class: "what-if-bar"}, stages,
        ...(everywhere ? [] : [make("label", {}, borders, " cuts at module borders only")])),
      ...(note ? [make("p", {class: "soft"}, note)] : []), said, picture,
      ...(chain.command ? [make("p", {class: "what-if-command"}, "These cuts as a plan: ", take_away)] : []),
      make("div", {class: "scroll"}, make("table", {class: "what-if-stages"},
        head(["stage", "up to", "layers", "of time", "ms", "MiB", "sends MiB"]), body)),
      make("div", {class: "scroll"}, make("table", {class: "what-if-splits"},
        head(["split", "samples/s", "range", "slowest ms", ""]), rivals)));

    const line = (x1, y1, x2, y2, kind) => make("svg:line", {x1, y1, x2, y2, class: kind});
    const text = (x, y, words, anchor = "middle") => make("svg:text", {x, y, "text-anchor": anchor}, words);
    picture.append(line(LEFT, BOTTOM, RIGHT, BOTTOM, "axis"), line(LEFT, TOP, LEFT, BOTTOM, "axis"),
      line(LEFT, BOTTOM, RIGHT, TOP, "even"), text(LEFT - 6, TOP + 8, "100%", "end"), text(LEFT - 6, BOTTOM, "0%", "end"),
      text((LEFT + RIGHT) / 2, H - 6, "cuts, layers front to back; upwards: time"),
      make("svg:path", {class: "curve", d: xs.map((_, at) => `${at ? "L" : "M"}${X(at).toFixed(1)} ${Y(at).toFixed(1)}`).join("")}));
    const handles = make("svg:g");
    picture.append(handles);

    const legal = at => !borders.checked || chain.stretches[at - 1].border;
    const between = number => [(cuts[number - 1] ?? 0) + 1, (cuts[number + 1] ?? end) - 1];
    function move(number, to, way) {
      const [least, most] = between(number);
      const places = Array.from({length: Math.max(0, most - least + 1)}, (_, at) => least + at).filter(legal);
      if (!places.length) return;
      const near = way ? places.filter(each => (each - cuts[number]) * way > 0) : places;
      const target = way ? (way > 0 ? near[Math.min(near.length - 1, to)] : near[Math.max(0, near.length - 1 - to)])
        : near.reduce((best, each) => Math.abs(X(each) - to) < Math.abs(X(best) - to) ? each : best);
      if (target !== undefined && target !== cuts[number]) { cuts = cuts.with(number, target); draw(); }
    }
    function keys(number, event) {
      const far = event.shiftKey ? 9 : 0, [least, most] = between(number);
      const ways = {ArrowRight: 1, ArrowUp: 1, ArrowLeft: -1, ArrowDown: -1};
      if (ways[event.key]) move(number, far, ways[event.key]);
      else if (event.key === "Home") move(number, X(least));
      else if (event.key === "End") move(number, X(most));
      else return;
      event.preventDefault();
      handles.children[number].focus();
    }
    function handle(number) {
      const at = cuts[number], [least, most] = between(number);
      const made = make("svg:g", {class: "handle", tabindex: 0, role: "slider", "aria-label": `cut ${number + 1}`,
        "aria-valuemin": least, "aria-valuemax": most, "aria-valuenow": at,
        "aria-valuetext": `behind ${lastOf(chain.stretches[at - 1])}`},
        line(X(at), TOP, X(at), BOTTOM, "cut"), make("svg:circle", {cx: X(at), cy: Y(at), r: 9}),
        text(X(at), BOTTOM + 16, String(number + 1)));
      made.addEventListener("keydown", event => keys(number, event));
      made.addEventListener("pointerdown", event => {
        event.preventDefault();
        made.focus();
        const follow = moved => {
          const box = picture.getBoundingClientRect();
          move(number, (moved.clientX - box.left) / box.width * W);
        };
        const ways = [["pointermove", follow], ["pointerup", stop], ["pointercancel", stop]];
        function stop() {
          for (const [name, way] of ways) removeEventListener(name, way);
          handles.children[number].focus();
        }
        for (const [name, way] of ways) addEventListener(name, way);
      });
      return made;
    }
    const known = {};
    function draw() {
      const count = String(cuts.length + 1), found = evaluate(chain, cuts);
      const others = known[count] ??= Object.entries(chain.pipelines[count].splits).map(
        ([name, own]) => [name, own, evaluate(chain, own)]);
      const elsewhere = beside.filter(own => own.stages === cuts.length + 1);
      const best = Math.max(...others.map(([, , its]) => its.samples_per_s), ...elsewhere.map(own => own.samples_per_s));
      take_away.textContent = [`${chain.command} --stages ${count}`,
        ...cuts.map(at => `--cut-after ${chain.cuts[at - 1].after.join(",")}`), "-o plan.json"].join(" ");
      stages.value = count;
      const slowest = Math.max(...found.stages.map(own => own.total_s)), all = sum(found.stages, own => own.total_s);
      const one = chain.one_core_s ? ` · ${(found.samples_per_s * chain.one_core_s / chain.batch_size).toFixed(2)} × one core` : "";
      said.textContent = `${found.samples_per_s.toFixed(1)} samples/s${range(found)}`
        + (best ? ` · ${(100 * found.samples_per_s / best).toFixed(0)}% of the best below` : "") + one;
      handles.replaceChildren(...cuts.map((_, number) => handle(number)));
      body.replaceChildren(...found.stages.map((own, stage) => make("tr", own.total_s === slowest ? {class: "slowest"} : {},
        ...[stage, own.last, own.layers, `${(100 * own.total_s / all).toFixed(0)}%`, (own.total_s * 1e3).toFixed(1),
            mib(own.memory_bytes), mib(own.sent_bytes)].map(cell => make("td", {}, String(cell))))));
      rivals.replaceChildren(...[["this one", cuts, found], ...others].map(([name, own, its], at) => {
        const row = make("tr", at ? {} : {class: "ours"}, ...[name, its.samples_per_s.toFixed(1),
          its.low === null ? "–" : `${its.low.toFixed(1)} – ${its.high.toFixed(1)}`,
          (1e3 * Math.max(...its.stages.map(each => each.total_s))).toFixed(1)].map(cell => make("td", {}, cell)));
        const take = make("button", {type: "button"}, "show");
        take.addEventListener("click", () => { cuts = own; draw(); });
        row.append(make("td", {}, ...(at ? [take] : [])));
        return row;
      }), ...elsewhere.map(own => make("tr", {}, ...[own.name, own.samples_per_s.toFixed(1),
        own.low === null ? "–" : `${own.low.toFixed(1)} – ${own.high.toFixed(1)}`, (1e3 * own.slowest_s).toFixed(1), ""]
        .map(cell => make("td", {}, cell)))));
    }
    stages.addEventListener("change", () => { cuts = chain.pipelines[stages.value].splits.best; draw(); });
    draw();
  }

  addEventListener("DOMContentLoaded", () => {
    for (const place of document.querySelectorAll(".what-if")) {
      const {chain, cuts, note, beside} = JSON.parse(place.querySelector("script").textContent);
      show(place, chain, cuts, note, beside);
    }
  });
  return {evaluate};
})();
