// The panels of the page, each a function of its data and of the box it fills. Goes on from page.js.

const foretold = (panel, box) => {
  const steps = page.steps[panel.steps], text = strip(panel.steps), said = readout();
  const tell = () => {
    const step = at(steps);
    if (step === null) return said.replaceChildren(`Point at a ${steps.unit}: how likely it was, and what was expected.`);
    const p = panel.probability[step];
    const came = p === null ? "" : `: probability ${percent(p)}, ${number(p ? -Math.log2(p) : Infinity)} bits of surprise`;
    const bars = panel.likeliest[step].map(([word, share]) => make("li", {},
      make("b", { textContent: seen(word) }), make("i", { style: `width: ${(7 * share).toFixed(2)}rem` }), percent(share)));
    said.replaceChildren(`${named(steps, step)}${came}. ${panel.of_itself ? "Likeliest here:" : "Likeliest to follow:"}`, make("ol", {}, ...bars));
  };
  const paint = () => text.shades(panel.probability.map((p) => p === null ? 0 : Math.min(12, -Math.log2(Math.max(p, 1e-9)))), "c1", 4);
  hear(steps.line, tell);
  painters.push(paint, tell);
  box.append(text.box, said);
};

const shown = (panel, box) => {
  const steps = page.steps[panel.steps], text = strip(panel.steps), said = readout();
  const tell = () => said.replaceChildren(at(steps) === null ? `Point at a ${steps.unit}: it is marked in all parts below.` : named(steps, at(steps)));
  hear(steps.line, tell);
  painters.push(tell);
  box.append(text.box, said);
};

const maps = (panel, box) => {
  const steps = page.steps[panel.steps], said = readout(), canvas = make("canvas");
  const [left, top, time] = [34, room(steps), steps.words.length];
  let map, values, order, unit = null, w = 8, h = 8;
  const value = (row, step) => values.value(order[row] * time + step);
  const sort = () => {
    order = map.units.map((_, place) => place);
    if (+sorted.select.value && at(steps) !== null) {
      const key = order.map((place) => values.value(place * time + at(steps)));
      order.sort((a, b) => key[b] - key[a]);
    }
  };
  const paint = () => {
    sort();
    w = wide(steps, box.clientWidth - left - 4);
    h = Math.max(3, Math.min(16, 340 / order.length));
    const pen = sized(canvas, left + w * time + 2, top + h * order.length + 2);
    across(pen, steps, left, w, top);
    field(canvas, left, top, w, h, order.length, time, (row, step) => shade(value(row, step), values.low, values.high));
    pen.textAlign = "right";
    const every = Math.ceil(14 / h);
    order.forEach((place, row) => {
      if (row === unit || (row % every === 0 && (unit === null || Math.abs(row - unit) >= every))) {
        pen.fillStyle = css(row === unit ? colour.ink : colour.muted);
        pen.fillText(map.units[place], left - 5, top + (row + 0.5) * h);
      }
    });
    if (at(steps) !== null) frame(pen, left + at(steps) * w, top, w, h * order.length);
    if (unit !== null) frame(pen, left, top + unit * h, w * time, h);
  };
  const tell = () => {
    const step = at(steps);
    if (step === null) return said.replaceChildren(`${map.name} from ${number(values.low)} to ${number(values.high)}. Point at a cell.`);
    const ranked = order.map((place, row) => [value(row, step), map.units[place]]).filter(([x]) => !Number.isNaN(x)).sort(([a], [b]) => b - a);
    const some = (part) => part.map(([x, which]) => `${which} (${rough(x)})`).join(", ");
    const one = unit === null ? "" : `unit ${map.units[order[unit]]} is ${rough(value(unit, step))}. `;
    said.replaceChildren(`${named(steps, step)}: ${one}Highest: ${some(ranked.slice(0, 3))}; lowest: ${some(ranked.slice(-3).reverse())}.`);
  };
  const choose = (which) => { map = panel.maps[which]; values = unpack(map.values); unit = null; sort(); };
  const redo = () => { paint(); tell(); };
  const layers = new Set(panel.maps.map((one) => one.layer)).size > 1;
  const what = choice("Show", panel.maps.map((one) => [layers ? one.layer : "", one.name]), (which) => { choose(which); redo(); });
  const sorted = choice("Units in order of", [["", "number"], ["", "value at the step pointed at"]], () => { unit = null; redo(); });
  const scroll = scrolling(canvas, "Units by steps: arrow keys move", (x, y) => {
    const [row, step] = [Math.floor((y - top) / h), Math.floor((x - left) / w)];
    if (row < 0 || row >= order.length || step < 0 || step >= time) return;
    if (+sorted.select.value === 0) unit = row;
    if (at(steps) === step) redo(); else point(steps.line, step);
  });
  keys(canvas, steps, (by) => { unit = Math.max(0, Math.min(order.length - 1, (unit ?? -1) + by)); redo(); });
  hear(steps.line, (step) => { redo(); into(scroll, left + step * w); });
  choose(0);
  painters.push(redo);
  box.append(make("div", { className: "choices" }, what.box, sorted.box), scroll, said);
};

const heads = (panel, box) => {
  const said = readout(), canvas = make("canvas"), texts = make("div", { className: "texts" }), strips = {};
  const layers = panel.layers.map((one) => ({ ...one, ...unpack(one.values) }));
  let layer, head = -1, column = null, w = 8, left = 40;
  const rows = () => page.steps[layer.rows], columns = () => page.steps[layer.columns];
  const weight = (row, step) => {
    const [count, height, width] = layer.shape, value = (one) => layer.value((one * height + row) * width + step);
    if (head >= 0) return value(head);
    let sum = 0;
    for (let one = 0; one < count; one++) sum += value(one);
    return sum / count;
  };
  const same = () => layer.rows === layer.columns;
  const backwards = () => +way.select.value === 1;
  const here = () => backwards() ? (same() ? at(rows()) : column) : at(rows());
  const weights = () => {
    const step = here();
    if (step === null) return [];
    return backwards() ? rows().words.map((_, row) => weight(row, step)) : columns().words.map((_, other) => weight(step, other));
  };
  const paint = () => {
    const [down, over] = [rows(), columns()], most = layer.high;
    left = { some: 40, letters: 22, turned: long(down) + 4 }[down.names];
    const top = room(over);
    w = Math.max(4, Math.min(over.words.length > 24 ? 22 : 40, (Math.min(box.clientWidth, 660) - left - 4) / over.words.length));
    const pen = sized(canvas, left + w * over.words.length + 2, top + w * down.words.length + 2);
    across(pen, over, left, w, top);
    field(canvas, left, top, w, w, down.words.length, over.words.length, (row, step) => shade(Math.sqrt(weight(row, step) / most), 0, 1));
    pen.textAlign = "right";
    pen.textBaseline = "middle";
    down.words.forEach((word, row) => {
      const apart = Math.ceil(12 / w), near = at(down) !== null && Math.abs(row - at(down)) < apart;
      if (row !== at(down) && (near || row % apart || (w < 8 && down.names !== "some"))) return;
      pen.fillStyle = css(row === at(down) ? colour.ink : colour.muted);
      pen.fillText(down.names === "some" ? row : down.names === "letters" ? letter(word) : short(seen(word)), left - 5, top + (row + 0.5) * w);
    });
    if (at(down) !== null) frame(pen, left, top + at(down) * w, w * over.words.length, w);
    const marked = same() && !backwards() ? column : at(over);
    if (marked !== null) frame(pen, left + marked * w, top, w, w * down.words.length);
    for (const [name, one] of Object.entries(strips)) {
      one.shades(name === (backwards() ? layer.rows : layer.columns) ? weights() : [], "hot");
    }
  };
  const tell = () => {
    const step = here(), found = weights(), kind = head >= 0 ? layer.kinds[head] : "";
    const front = kind ? `Head ${head} ${kind}. ` : "";
    if (step === null) return said.replaceChildren(`${front}Point at a ${backwards() ? columns().unit : rows().unit}.`);
    const [from, to] = backwards() ? [columns(), rows()] : [rows(), columns()];
    const best = found.map((x, other) => [x, other]).filter(([x]) => x > 0).sort(([a], [b]) => b - a).slice(0, 4);
    const list = best.map(([x, other]) => `${named(to, other)} ${rough(x)}`).join(", ") || "nothing here";
    said.replaceChildren(`${front}${named(from, step)} ${backwards() ? "is looked at by" : "looks at"} ${list}.`);
  };
  const redo = () => { paint(); tell(); };
  const show = () => {
    for (const name of Object.keys(strips)) delete strips[name];
    const shown = [...new Set([layer.rows, layer.columns])].filter((name) => page.steps[name].form !== "times");
    for (const name of shown) strips[name] = made[name] ??= strip(name);
    texts.replaceChildren(...shown.flatMap((name) => same() ? [strips[name].box] : [make("small", { textContent: page.steps[name].title }), strips[name].box]));
  };
  const made = {};
  const choose = (which) => {
    layer = layers[which];
    column = null;
    head = -1;
    const options = [["", layer.shape[0] > 1 ? "all, their mean" : "the only one"]];
    if (layer.shape[0] > 1) for (let one = 0; one < layer.shape[0]; one++) options.push(["", `head ${one}${layer.kinds[one] ? `: ${layer.kinds[one]}` : ""}`]);
    const fresh = choice("Head", options, (which) => { head = which - 1; redo(); });
    one.box.replaceWith(fresh.box);
    one = fresh;
    show();
  };
  let one = choice("Head", [], () => {});
  const which = choice("Layer", layers.map((each) => ["", each.layer]), (chosen) => { choose(chosen); redo(); });
  const way = choice("Of the step pointed at", [["", "what it looks at"], ["", "what looks at it"]], redo);
  const scroll = scrolling(canvas, "Attention: a row for each step that looks, a column for each that is looked at", (x, y) => {
    const [row, step] = [Math.floor((y - room(columns())) / w), Math.floor((x - left) / w)];
    if (row < 0 || row >= rows().words.length || step < 0 || step >= columns().words.length) return;
    column = step;
    if (!same()) point(columns().line, step);
    point(rows().line, backwards() && same() ? step : row);
    redo();
  });
  canvas.addEventListener("keydown", (event) => {
    const by = { ArrowUp: -1, ArrowDown: 1 }[event.key];
    if (!by) return;
    event.preventDefault();
    point(rows().line, Math.max(0, Math.min(rows().words.length - 1, (at(rows()) ?? -1) + by)));
  });
  for (const line of new Set(panel.layers.flatMap((each) => [page.steps[each.rows].line, page.steps[each.columns].line]))) {
    hear(line, (step) => { if (!same() && line === columns().line) column = step; redo(); });
  }
  box.append(make("div", { className: "choices" }, which.box, one.box, way.box), texts, scroll, said);
  choose(0);
  painters.push(redo);
};

// Some four round numbers from low to high.
const round = (low, high) => {
  const rough = (high - low) / 4, ten = 10 ** Math.floor(Math.log10(rough));
  const step = ten * [1, 2, 2.5, 5, 10].find((times) => times * ten >= 0.99 * rough);
  const found = [];
  for (let at = Math.ceil(low / step - 1e-6); at * step <= high + 1e-6 * step; at++) found.push(+(at * step).toPrecision(9));
  return found;
};

const curves = (panel, box) => {
  const steps = page.steps[panel.steps], said = readout(), canvas = make("canvas");
  const [left, top, tall, time] = [52, 12, 200, steps.words.length];
  let chart = panel.charts[0], w = 8;
  const colours = (line) => colour[line === 0 && chart.band ? "ink" : `c${line % 7}`];
  const paint = () => {
    const every = [...chart.lines.flatMap(([, line]) => line), ...(chart.band ? [...chart.band.low, ...chart.band.high] : [])].filter((x) => x !== null);
    let [low, high] = [chart.low ?? Math.min(...every), chart.high ?? Math.max(...every)];
    if (!(high > low)) [low, high] = [low - 1, high + 1];
    w = wide(steps, box.clientWidth - left - 4);
    const under = room(steps) + 6;
    const pen = sized(canvas, left + w * time + 2, top + tall + under);
    const x = (step) => left + (step + 0.5) * w, y = (value) => top + tall * (1 - (value - low) / (high - low));
    pen.textBaseline = "middle";
    for (const value of round(low, high)) {
      pen.strokeStyle = css(colour.grid);
      pen.beginPath();
      pen.moveTo(left, y(value));
      pen.lineTo(left + w * time, y(value));
      pen.stroke();
      pen.fillStyle = css(colour.muted);
      pen.textAlign = "right";
      pen.fillText(number(value), left - 5, y(value));
    }
    across(pen, steps, left, w, top + tall + under);
    if (chart.band) {
      pen.fillStyle = css(colour.c0, 0.22);
      for (let step = 0; step < time; step++) {
        const [a, b] = [chart.band.low[step], chart.band.high[step]];
        if (a !== null && b !== null) pen.fillRect(left + step * w, y(b), w, Math.max(1, y(a) - y(b)));
      }
    }
    chart.lines.forEach(([, line], which) => {
      pen.strokeStyle = css(colours(which));
      pen.lineWidth = 1.6;
      pen.beginPath();
      let on = false;
      line.forEach((value, step) => {
        if (value !== null) pen[on ? "lineTo" : "moveTo"](x(step), y(value));
        on = value !== null;
      });
      pen.stroke();
    });
    if (at(steps) !== null) frame(pen, left + at(steps) * w, top, w, tall);
  };
  const tell = () => {
    const step = at(steps);
    const key = (name, which, text) => make("span", { className: "key" }, make("i", { style: `background: ${which < 0 ? css(colour.c0, 0.35) : css(colours(which))}` }), `${name}${text}`);
    const value = (x) => step === null ? "" : ` ${number(x)}`;
    const parts = chart.lines.map(([name, line], which) => key(name, which, value(line[step])));
    if (chart.band) parts.push(key(chart.band.name, -1, step === null ? "" : ` ${number(chart.band.low[step])} to ${number(chart.band.high[step])}`));
    said.replaceChildren(step === null ? `${chart.unit} ` : `${named(steps, step)} `, ...parts);
  };
  const redo = () => { paint(); tell(); };
  const what = choice("Show", panel.charts.map((one) => ["", one.label]), (which) => { chart = panel.charts[which]; redo(); });
  const scroll = scrolling(canvas, `${chart.unit || "Numbers"} over steps: arrow keys move`, (place) => {
    const step = Math.floor((place - left) / w);
    if (step >= 0 && step < time) point(steps.line, step);
  });
  keys(canvas, steps);
  hear(steps.line, (step) => { redo(); into(scroll, left + step * w); });
  painters.push(redo);
  box.append(make("div", { className: "choices" }, what.box), scroll, said);
};

// -- begin -----------------------------------------------------------------------------------

document.documentElement.classList.add("live");
readColours();
const kinds = { foretold, shown, maps, heads, curves };
document.querySelectorAll("[data-panel]").forEach((box) => {
  const panel = page.panels[+box.dataset.panel];
  kinds[panel.kind](panel, box);
});
const paintAll = () => painters.forEach((paint) => paint());
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => { readColours(); paintAll(); });
let width = 0;
new ResizeObserver(() => { if (width !== (width = document.body.clientWidth)) paintAll(); }).observe(document.body);
paintAll();
