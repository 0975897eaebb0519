"use strict";
// What all panels of the page share: the step pointed at, sequences, and fields of cells. What they
// show stands in the page as JSON; nothing is fetched, and words from outside only become text.

const page = JSON.parse(document.getElementById("page-data").textContent);

// -- words and numbers ---------------------------------------------------------------------

const make = (tag, properties = {}, ...children) => {
  const node = Object.assign(document.createElement(tag), properties);
  node.append(...children);
  return node;
};
const seen = (word) => word.replace(/ /g, "␣").replace(/\n/g, "↵").replace(/\t/g, "⇥");
const number = (x) => x === null || Number.isNaN(x) ? "not known"
  : (Math.abs(x) >= 1e9 || (x && Math.abs(x) < 1e-3) ? x.toPrecision(3) : Math.abs(x) >= 1e4 ? Math.round(x).toLocaleString("en") : String(+x.toPrecision(4))).replace("-", "−");
const rough = (x) => number(+x.toPrecision(2)); // numbers that were packed are no finer
const percent = (p) => p === null ? "not known" : p >= 0.001 ? `${+(100 * p).toPrecision(3)} %` : "below 0.1 %";
const named = (steps, at) => steps.form === "times" || steps.image ? steps.words[at] : `“${seen(steps.words[at])}” (${steps.unit} ${at})`;
const short = (word) => word.length > 9 ? `${word.slice(0, 8)}…` : word;
const letter = (word) => word === "<begin>" ? "▸" : word === "<end>" ? "◂" : seen(word);
// How steps are named beside a field: each by a letter, each by a turned word, or some of them.
for (const steps of Object.values(page.steps)) {
  const letters = steps.form === "joined" && steps.words.every((word) => letter(word).length < 2);
  steps.names = steps.form === "times" || steps.image ? "some" : letters ? "letters" : "turned";
}

// -- colours: those of the page, read again when day becomes night ---------------------------

let colour = {};
const names = ["surface", "ink", "muted", "grid", "hot", "cold", "c0", "c1", "c2", "c3", "c4", "c5", "c6"];
const readColours = () => {
  const style = getComputedStyle(document.documentElement);
  for (const name of names) {
    const hex = style.getPropertyValue(`--${name}`).trim();
    colour[name] = [1, 3, 5].map((at) => parseInt(hex.slice(at, at + 2), 16));
  }
};
const css = (rgb, alpha = 1) => `rgb(${rgb.join(" ")} / ${alpha})`;
const mixed = (a, b, share) => a.map((x, at) => Math.round(x + (b[at] - x) * share));
const shade = (value, low, high) => {
  if (Number.isNaN(value)) return colour.grid;
  if (low >= 0) return mixed(colour.surface, colour.hot, (value - low) / (high - low));
  return value < 0 ? mixed(colour.surface, colour.cold, value / low) : mixed(colour.surface, colour.hot, value / high);
};

// -- the step pointed at, which all panels share ---------------------------------------------

const pointed = {}, hearers = [], painters = [];
const point = (line, step) => {
  if (pointed[line] === step) return;
  pointed[line] = step;
  for (const [on, act] of hearers) if (on === line) act(step);
};
const hear = (line, act) => hearers.push([line, act]);
const at = (steps) => pointed[steps.line] ?? null;
const keys = (node, steps, up = () => {}) => node.addEventListener("keydown", (event) => {
  const last = steps.words.length - 1, now = at(steps) ?? -1;
  const to = { ArrowLeft: Math.max(0, now - 1), ArrowRight: Math.min(last, now + 1), Home: 0, End: last }[event.key];
  if (to !== undefined) point(steps.line, to);
  else if (event.key === "ArrowUp" || event.key === "ArrowDown") up(event.key === "ArrowUp" ? -1 : 1);
  else return;
  event.preventDefault();
});
const choice = (label, options, act) => {
  const select = make("select", { onchange: () => act(+select.value) });
  const groups = {};
  options.forEach(([group, name], value) => {
    const option = make("option", { value, textContent: name });
    if (!group) return select.append(option);
    groups[group] ??= select.appendChild(make("optgroup", { label: group }));
    groups[group].append(option);
  });
  const box = make("label", { className: "choice" }, `${label} `, select);
  box.hidden = options.length < 2;
  return { box, select };
};
const unpack = ({ shape, low, high, data }) => {
  const bytes = Uint8Array.from(atob(data), (letter) => letter.charCodeAt(0));
  const value = (place) => bytes[place] === 255 ? NaN : low + (high - low) * bytes[place] / 254;
  return { shape, low, high, value };
};

// -- sequences: a text whose tokens can be pointed at, or an image with patches --------------

const strip = (name) => {
  const steps = page.steps[name];
  const box = make("div", { className: `strip ${steps.image ? "patches" : steps.form}`, tabIndex: 0 });
  box.setAttribute("role", "group");
  box.setAttribute("aria-label", `${steps.title}: the arrow keys go from ${steps.unit} to ${steps.unit}`);
  keys(box, steps);
  const plain = steps.image ? steps.before : steps.words.length;
  const spans = steps.words.slice(0, plain).map((word, step) => {
    const text = steps.form === "joined" ? word.replace(/\n/g, "↵\n") : seen(word);
    return make("span", { textContent: text, onpointerenter: () => point(steps.line, step), onclick: () => point(steps.line, step) });
  });
  box.append(...spans);
  const picture = steps.image ? patches(steps, box) : null;
  const mark = () => {
    spans.forEach((span, step) => span.classList.toggle("at", step === at(steps)));
    const top = spans[at(steps)]?.offsetTop;
    if (top < box.scrollTop || top > box.scrollTop + box.clientHeight - 20) box.scrollTop = top - box.clientHeight / 2;
  };
  hear(steps.line, () => { mark(); picture?.paint(); });
  const shades = (weights, tint, least = 1e-9) => {
    const most = Math.max(least, ...weights.filter((weight) => weight > 0));
    spans.forEach((span, step) => {
      const share = Math.max(0, weights[step] || 0) / most;
      span.style.backgroundColor = share > 0.02 ? css(colour[tint], 0.5 * share) : "";
    });
    picture?.shades(weights, most);
  };
  return { box, shades };
};

const patches = (steps, box) => {
  const canvas = box.appendChild(make("canvas")), [rows, columns] = steps.grid;
  const image = make("img", { src: steps.image });
  let weights = [], most = 1;
  const paint = () => {
    if (!image.naturalWidth) return;
    const by = Math.min(320, box.clientWidth - 24) / Math.max(image.naturalWidth, image.naturalHeight);
    const [width, height] = [image.naturalWidth * by, image.naturalHeight * by];
    const pen = sized(canvas, width, height), [w, h] = [width / columns, height / rows];
    pen.imageSmoothingEnabled = by < 2;
    pen.drawImage(image, 0, 0, width, height);
    for (let patch = 0; patch < rows * columns; patch++) {
      const [x, y] = [(patch % columns) * w, Math.floor(patch / columns) * h];
      const share = (weights[steps.before + patch] || 0) / most;
      pen.fillStyle = css(colour.c1, 0.75 * share);
      if (share > 0.02) pen.fillRect(x, y, w, h);
      pen.lineWidth = at(steps) === steps.before + patch ? 3 : 0.5;
      pen.strokeStyle = at(steps) === steps.before + patch ? css(colour.hot) : css(colour.muted, 0.5);
      pen.strokeRect(x + pen.lineWidth / 2, y + pen.lineWidth / 2, w - pen.lineWidth, h - pen.lineWidth);
    }
  };
  const move = (event) => {
    const frame = canvas.getBoundingClientRect();
    const row = Math.min(rows - 1, Math.floor((event.clientY - frame.top) / frame.height * rows));
    const column = Math.min(columns - 1, Math.floor((event.clientX - frame.left) / frame.width * columns));
    if (row >= 0 && column >= 0) point(steps.line, steps.before + row * columns + column);
  };
  canvas.addEventListener("pointermove", move);
  canvas.addEventListener("pointerdown", move);
  image.onload = paint;
  painters.push(paint);
  return { paint, shades: (found, largest) => { weights = found; most = largest; paint(); } };
};

const sized = (canvas, width, height) => {
  const fine = window.devicePixelRatio || 1;
  canvas.width = Math.round(width * fine);
  canvas.height = Math.round(height * fine);
  canvas.style.width = `${width}px`;
  canvas.style.height = `${height}px`;
  const pen = canvas.getContext("2d");
  pen.scale(fine, fine);
  pen.font = "11px system-ui, sans-serif";
  return pen;
};

// -- a field of cells: columns are steps, rows are units or steps ----------------------------

const long = (steps) => 8 + 6.5 * Math.max(1, ...steps.words.map((word) => short(seen(word)).length));
const room = (steps) => ({ some: 18, letters: 16, turned: long(steps) })[steps.names];
const wide = (steps, space) => Math.max({ some: 4, letters: 8, turned: 12 }[steps.names], Math.min(steps.words.length > 24 ? 22 : 40, space / steps.words.length));
const across = (pen, steps, left, width, bottom) => {
  const narrow = steps.names !== "some" && width < 8, end = parseFloat(pen.canvas.style.width);
  const apart = steps.names === "some" || narrow ? Math.ceil((8 + 7 * Math.max(...steps.words.map((word) => word.length))) / width) : 1;
  pen.textBaseline = "middle";
  steps.words.forEach((word, step) => {
    const here = step === at(steps);
    if (!here && (narrow || step % apart || (at(steps) !== null && Math.abs(step - at(steps)) < apart))) return;
    pen.fillStyle = css(here ? colour.ink : colour.muted);
    pen.textAlign = "left";
    if (steps.names === "turned" && !narrow) {
      pen.save();
      pen.translate(left + (step + 0.5) * width, bottom - 4);
      pen.rotate(-Math.PI / 2);
      pen.fillText(short(seen(word)), 0, 0);
      pen.restore();
      return;
    }
    const text = steps.names === "some" ? word : letter(word), size = pen.measureText(text).width;
    const x = left + (steps.names === "some" ? step : step + 0.5) * width - (steps.names === "some" ? 0 : size / 2);
    if (here || x + size <= end) pen.fillText(text, Math.min(x, end - size), bottom - 8);
  });
};
const field = (canvas, left, top, w, h, rows, columns, cell) => {
  const small = new OffscreenCanvas(columns, rows), pixels = new ImageData(columns, rows);
  for (let row = 0; row < rows; row++) for (let column = 0; column < columns; column++) {
    pixels.data.set([...cell(row, column), 255], 4 * (row * columns + column));
  }
  small.getContext("2d").putImageData(pixels, 0, 0);
  const pen = canvas.getContext("2d");
  pen.imageSmoothingEnabled = false;
  pen.drawImage(small, left, top, w * columns, h * rows);
};
const frame = (pen, x, y, width, height) => {
  pen.strokeStyle = css(colour.ink);
  pen.lineWidth = 1.5;
  pen.strokeRect(x - 0.75, y - 0.75, width + 1.5, height + 1.5);
};
const into = (scroll, x) => {
  if (x < scroll.scrollLeft || x > scroll.scrollLeft + scroll.clientWidth) scroll.scrollLeft = x - scroll.clientWidth / 2;
};
const scrolling = (canvas, label, move) => {
  canvas.tabIndex = 0;
  canvas.setAttribute("role", "img");
  canvas.setAttribute("aria-label", label);
  const placed = (event) => move(event.offsetX, event.offsetY);
  canvas.addEventListener("pointermove", placed);
  canvas.addEventListener("pointerdown", placed);
  return make("div", { className: "scroll" }, canvas);
};
const readout = () => {
  const node = make("output", { className: "readout" });
  node.setAttribute("aria-live", "polite");
  return node;
};
