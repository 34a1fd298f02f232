"use strict";
// The example browser: a list that is filtered and sorted, and beside it one example with its picture and its numbers.
// Every text of the data is set as text, never as markup.
(() => {
  const place = document.getElementById("browser");
  const data = JSON.parse(document.getElementById("examples").textContent);
  const PAGE = 200, GALLERY = 12, SVG = "http://www.w3.org/2000/svg";
  const rows = data.rows.map((row, number) => ({...row, number}));
  const curved = rows.some((row) => row.c);
  const given = (right) => rows.some((row) => row.a && row.a[0][2] === right);
  const known = {right: given(0) || given(1), mixed: given(0) && given(1), effect: curved || rows.some((row) => row.e !== undefined)};
  let shown = rows, current = rows[0], room = PAGE, chosen = [], before = "data";

  const make = (name, properties = {}, ...children) => {
    const element = document.createElement(name);
    for (const [key, value] of Object.entries(properties)) {
      if (key === "text") element.textContent = value;
      else if (key in element) element[key] = value;
      else element.setAttribute(key, value);
    }
    element.append(...children);
    return element;
  };
  const draw = (name, attributes, ...children) => {
    const element = document.createElementNS(SVG, name);
    for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
    element.append(...children);
    return element;
  };
  const times = new Map();
  for (const row of rows) times.set(row.q || row.i, (times.get(row.q || row.i) || 0) + 1);
  const written = (value) => Number(value.toPrecision(3)).toString().replace("-", "\u2212");
  const mark = (right) => right < 0 ? ["", ""] : right ? ["right", "✓"] : ["wrong", "✗"];
  const select = (label, options) => {
    const chooser = make("select", {}, ...options.map(([value, text]) => make("option", {value, text})));
    return [chooser, make("label", {}, label, chooser)];
  };

  const orders = [["data", "as in the data"]];
  if (known.mixed) orders.push(["wrong", "wrong answers first"]);
  if (data.types.length > 1) orders.push(["type", known.mixed ? "by type, wrong answers first" : "by type"]);
  if (known.effect) orders.push(["low", "lowest first"], ["high", "highest first"]);
  // The finding that examples may contradict: its curve, its place, its sign, and what is too little to show it.
  const [curve, place_, sign_, least] = data.against || [];
  if (data.against) orders.push(["against", "contradicts the finding"]);
  const [type, typeLabel] = select("Type", [["", "all"], ...data.types.map((name, k) => [k, name])]);
  const [answered, answeredLabel] = select("Answer", [["", "all"], ["1", "right"], ["0", "wrong"]]);
  const [order, orderLabel] = select("Order", orders);
  const [by, byLabel] = select("By", [["", "any curve"], ...data.series.map(([name], k) => [k, name])]);
  by.value = data.by;
  if (orders.some(([name]) => name === data.order)) order.value = data.order;
  const depth = data.axes[0].split(" (")[0];
  const [at, atLabel] = select(depth, [["", "where it is largest"], ...data.places.map((name, k) => [k, name])]);
  const search = make("input", {type: "search", placeholder: "words or id"});
  const searchLabel = make("label", {}, "Search", search);
  const count = make("p", {className: "small", role: "status"});
  const list = make("ul", {className: "list", "aria-label": "Examples: arrow keys choose, Enter opens"});
  const more = make("button", {type: "button"});
  const detail = make("div", {className: "detail", role: "region", "aria-label": "The example", tabIndex: -1});
  const gallery = make("div", {className: "gallery"});
  const controls = make("div", {className: "controls"});
  const finding = data.against ? ` (${data.series[curve][0]}, ${depth.toLowerCase()} ${data.places[place_]})` : "";
  const ASK = `Which examples contradict the finding?${finding}`, BACK = "Back to the order before";
  const contradict = make("button", {type: "button", text: ASK});
  const opposed = () => order.value === "against";
  // Where a finding is a loss, a gain is told from one by its sign.
  const signed = (value) => `${opposed() && sign_ < 0 && value > 0 ? "+" : ""}${written(value)}`;
  if (data.types.length > 1) controls.append(typeLabel);
  if (known.right) controls.append(answeredLabel);
  if (orders.length > 1) controls.append(orderLabel);
  if (curved && data.series.length > 1) controls.append(byLabel);
  if (curved && data.places.length > 1) controls.append(atLabel);
  controls.append(searchLabel);

  // What an example is sorted by: the value of a curve that lies furthest from 0, or a number of its own.
  const furthest = (values) => values.reduce((best, value) => value !== null && (best === undefined || Math.abs(value) > Math.abs(best)) ? value : best, undefined);
  const effect = (row) => {
    if (!row.c) return row.e;
    if (opposed()) return row.c[curve][place_] === null ? undefined : data.step * row.c[curve][place_];
    const there = (values) => at.value === "" ? furthest(values) : values[Number(at.value)];
    const found = by.value === "" ? furthest(row.c.map(there).map((value) => value === undefined ? null : value)) : there(row.c[Number(by.value)]);
    return found === undefined || found === null ? undefined : data.step * found;
  };

  // How the numbers of the examples are spread; dragging over it, or the two fields beside it, keep a range of them.
  const BARS = 48, WIDE = 480, TALL = 64;
  const bars = draw("svg", {viewBox: `0 0 ${WIDE} ${TALL + 14}`, class: "spread", "aria-hidden": "true"});
  const [least_, most_] = [0, 1].map(() => make("input", {type: "number", step: "any"}));
  const all = make("button", {type: "button", text: "All of them"});
  const brush = make("div", {className: "controls brush"}, bars, make("label", {}, "Numbers from", least_), make("label", {}, "up to", most_), all);
  let edges = [0, 1];
  const inside = (row) => {
    const value = effect(row), [low, high] = [least_, most_].map((field) => field.value === "" ? undefined : Number(field.value));
    if (low === undefined && high === undefined) return true;
    return value !== undefined && (low === undefined || value >= low) && (high === undefined || value <= high);
  };
  const spread = (others) => {
    const values = others.map(effect).filter((value) => value !== undefined);
    brush.hidden = !known.effect || new Set(values).size < 2;
    if (brush.hidden) return;
    const low = Math.min(...values), high = Math.max(...values), counts = new Array(BARS).fill(0), kept = new Array(BARS).fill(0);
    edges = [low, high];
    const bar = (value) => Math.min(BARS - 1, Math.floor(BARS * (value - low) / (high - low)));
    for (const row of others) {
      const value = effect(row);
      if (value === undefined) continue;
      counts[bar(value)] += 1;
      if (inside(row)) kept[bar(value)] += 1;
    }
    const most = Math.max(...counts), width = WIDE / BARS;
    const block = (count, k, opacity) => draw("rect", {x: k * width, y: TALL - TALL * count / most, width: width - 1, height: TALL * count / most, fill: "currentColor", "fill-opacity": opacity});
    const words = (x, anchor, text) => draw("text", {x, y: TALL + 12, "text-anchor": anchor, "font-size": 11, fill: "currentColor"}, text);
    bars.replaceChildren(
      draw("rect", {x: 0, y: 0, width: WIDE, height: TALL + 14, fill: "transparent"}),
      ...counts.map((count, k) => block(count, k, 0.22)), ...kept.map((count, k) => block(count, k, 0.6)),
      draw("line", {x1: 0, x2: WIDE, y1: TALL, y2: TALL, stroke: "currentColor", "stroke-opacity": 0.5}),
      words(0, "start", written(low)), words(WIDE, "end", `${written(high)}${data.unit ? ` ${data.unit}` : ""}`));
  };
  const valueAt = (event) => {
    const frame = bars.getBoundingClientRect(), exact = (event.clientX - frame.left) / frame.width;
    // Whoever aims at an edge means all that lies there.
    const share = exact < 0.01 ? 0 : exact > 0.99 ? 1 : exact;
    return edges[0] + share * (edges[1] - edges[0]);
  };
  let started;
  // The outermost values belong to a range that reaches the edge, however they were rounded.
  const kept = (field, value) => { field.value = value <= edges[0] || value >= edges[1] ? "" : Number(value.toPrecision(3)); };
  bars.addEventListener("pointerdown", (event) => { started = valueAt(event); bars.setPointerCapture(event.pointerId); event.preventDefault(); });
  bars.addEventListener("pointermove", (event) => {
    if (started === undefined) return;
    const [low, high] = [started, valueAt(event)].sort((a, b) => a - b);
    kept(least_, low);
    kept(most_, high);
    filter();
  });
  bars.addEventListener("pointerup", (event) => {
    // A click alone keeps nothing: it brings all back.
    if (started !== undefined && valueAt(event) === started) cleared();
    started = undefined;
  });
  const cleared = () => { least_.value = most_.value = ""; filter(); };
  let against = false;
  const filter = () => {
    // A range is one of other numbers where the order is that of the finding.
    if (opposed() !== against) { against = opposed(); least_.value = most_.value = ""; }
    // That order is of one curve.
    by.disabled = at.disabled = opposed();
    contradict.textContent = opposed() ? BACK : ASK;
    const words = search.value.trim().toLowerCase();
    shown = rows.filter((row) =>
      (type.value === "" || row.t === Number(type.value)) &&
      (answered.value === "" || (row.a && row.a[0][2] === Number(answered.value))) &&
      (words === "" || [row.i, row.q, row.l, ...(row.a || []).map((one) => one[1])].join(" ").toLowerCase().includes(words)));
    spread(shown);
    shown = shown.filter(inside);
    // Those first that show least of what was found.
    const sign = {low: 1, high: -1, against: sign_}[order.value];
    const sorted = (...keys) => shown.sort((a, b) => keys.map((key) => key(a) - key(b)).find((less) => less) || a.number - b.number);
    const right = (row) => row.a && row.a[0][2] === 0 ? 0 : 1;
    if (order.value === "wrong") sorted(right);
    if (order.value === "type") sorted((row) => row.t, right);
    const size = (row) => { const value = effect(row); return value === undefined ? Infinity : sign * value; };
    if (sign) shown.sort((a, b) => size(a) - size(b) || a.number - b.number);
    room = PAGE;
    // What is shown is what the list begins with.
    current = shown[0];
    fill();
    if (data.gallery) misread();
    show(current);
  };

  const fill = () => {
    const open = shown.slice(0, room).map((row) => {
      const [style, sign] = mark(row.a ? row.a[0][2] : -1);
      const title = row.q || row.i;
      const button = make("button", {type: "button"},
        make("span", {className: style, text: sign, "aria-label": style}), make("span", {text: title}),
        // What several are called alike is told apart by its id.
        ...(times.get(title) > 1 && title !== row.i ? [make("span", {className: "id", text: row.i})] : []),
        make("span", {text: effect(row) === undefined ? "" : signed(effect(row))}));
      button.dataset.number = row.number;
      return make("li", {}, button);
    });
    list.replaceChildren(...open);
    marked();
    more.hidden = shown.length <= room;
    more.textContent = `Show ${Math.min(PAGE, shown.length - room)} more`;
    const unit = data.unit ? ` (${data.unit})` : "";
    const where = at.value === "" ? "" : ` at ${depth.toLowerCase()} ${data.places[Number(at.value)]}`;
    const of = curved ? `${by.value === "" ? "" : ` of ${data.series[Number(by.value)][0]}`}${where}` : "";
    const said = opposed() ? contradicting(unit) : known.effect ? ` The number is the ${at.value === "" ? data.effect : data.effect.replace(/^largest /, "")}${of}${unit}.` : "";
    const wrong = shown.filter((row) => row.a && row.a[0][2] === 0).length;
    count.textContent = `${shown.length} of ${rows.length} examples${known.mixed ? `, ${wrong} of them answered wrongly` : ""}.${said}`;
  };

  // How many of the list show nothing of what was found of all, and how many of those the opposite.
  const contradicting = (unit) => {
    const values = shown.map(effect).filter((value) => value !== undefined), less = values.filter((value) => sign_ * value < least).length;
    const other = values.filter((value) => sign_ * value < 0).length;
    const where = `${data.series[curve][0]} at ${data.axes[0].split(" (")[0].toLowerCase()} ${data.places[place_]}`;
    return ` The number is that of ${where}${unit}, established to be ${sign_ < 0 ? "below" : "above"} 0: those that show least of it come first. ${less} of ${values.length} ${sign_ < 0 ? "lose" : "gain"} less than ${written(least)} ${data.unit}; ${other} of these go the other way: a number with a ${sign_ < 0 ? "plus" : "minus"} sign.`;
  };

  // The list is one stop of the tab key: of its buttons only the current one, or the first, is in that order.
  const marked = () => {
    const buttons = [...list.querySelectorAll("button")];
    const own = (button) => current !== undefined && Number(button.dataset.number) === current.number;
    const stop = buttons.find(own) || buttons[0];
    for (const button of buttons) {
      button.setAttribute("aria-current", own(button));
      button.tabIndex = button === stop ? 0 : -1;
    }
  };

  const show = (row) => {
    current = row;
    marked();
    if (row === undefined) {
      detail.replaceChildren(make("p", {text: "No example is like that."}));
      return;
    }
    const facts = make("dl", {});
    const fact = (name, ...value) => facts.append(make("dt", {text: name}), make("dd", {}, ...value));
    fact("label", row.l || "none");
    for (const [by, text, right] of row.a || []) {
      const [style, sign] = mark(right);
      fact(by, `${text} `, make("span", {className: style, text: sign && `${sign} ${style}`}));
    }
    fact("type", data.types[row.t]);
    if (row.e !== undefined) fact(data.effect, `${written(row.e)} ${data.unit}${row.u ? `, ${row.u}` : ""}`);
    if (row.b) fact("boxes", row.b.map((box) => box[0]).join(", "));
    fact("id", row.i);
    const seen = make("div", {className: "seen"});
    const maps = row.m || [], overlay = draw("svg", {viewBox: "0 0 1 1", preserveAspectRatio: "none", "aria-hidden": "true"});
    const framed = (drawn) => {
      const picture = make("div", {className: "picture"});
      if (row.p !== undefined) picture.append(image(row, `What example ${row.i} shows`));
      else picture.style.aspectRatio = "1";
      picture.append(drawn);
      return picture;
    };
    if (row.p === undefined) seen.append(make("p", {className: "small", text: data.lacking}));
    if (row.p !== undefined) {
      // Beside a map the picture stands as it is: colours hide what they lie on.
      const plain = maps.length ? draw("svg", {viewBox: "0 0 1 1", preserveAspectRatio: "none", "aria-hidden": "true"}) : overlay;
      plain.append(...boxes(row));
      seen.append(framed(plain));
    }
    if (maps.length) {
      seen.append(make("div", {className: "mapped"}, framed(overlay), chooser(row, overlay)));
      paint(row, overlay);
    }
    if (row.c) seen.append(curves(row));
    detail.replaceChildren(make("p", {className: "asked", text: row.q || row.i}), facts, seen);
  };

  const image = (row, alt) => make("img", {src: `data:image/jpeg;base64,${data.pictures[row.p]}`, alt});
  const boxes = (row) => (row.b || []).flatMap(([, x, y, width, height]) => [["#fff", 4], ["#1a1a1a", 1.5]].map(([stroke, wide]) =>
    draw("rect", {x, y, width, height, fill: "none", stroke, "stroke-width": wide, "vector-effect": "non-scaling-stroke"})));

  // What was answered wrongly, at a glance: label, answer, picture.
  const misread = () => {
    const found = shown.filter((row) => row.p !== undefined && row.a && row.a[0][2] === 0), first = found.slice(0, GALLERY);
    gallery.replaceChildren(...first.map((row) => {
      const said = make("figcaption", {}, make("span", {text: row.l}), make("span", {className: "wrong", text: `✗ ${row.a[0][1] || "nothing"}`}));
      return make("figure", {}, image(row, `Misread: ${row.l}`), said);
    }));
    const words = `${data.gallery} (label, below it the answer of ${first.length ? first[0].a[0][0] : "the model"})`;
    if (first.length) gallery.prepend(make("p", {className: "small", text: `${words}: ${first.length} of ${found.length} that the list holds.`}));
  };

  // Which of the example's maps lies over the picture: one list for each thing in which they differ.
  const chooser = (row, overlay) => {
    const maps = row.m || [], box = make("div", {className: "controls"});
    // Begin where there is most to see, among the maps of the first kind.
    const strength = (map) => map[2] * map[3].reduce((sum, value) => sum + Math.abs(value), 0), last = maps[0][0].length - 1;
    const alike = maps.filter((map) => map[0][0] === maps[0][0][0] && map[0][last] === maps[0][0][last]);
    const start = alike.reduce((best, map) => strength(map) > strength(best) ? map : best)[0];
    maps[0][0].forEach((_, k) => {
      const names = [...new Set(maps.map((map) => map[0][k]))];
      if (!names.includes(chosen[k])) chosen[k] = start[k];
      const [picker, label] = select(box.children.length ? "and" : "Map", names.map((name) => [name, name]));
      picker.value = chosen[k];
      picker.addEventListener("change", () => { chosen[k] = picker.value; paint(row, overlay); });
      if (names.length > 1) box.append(label);
    });
    box.append(make("p", {className: "small", role: "status"}));
    return box;
  };

  const paint = (row, overlay) => {
    const parts = [], map = (row.m || []).find((one) => one[0].every((name, k) => name === chosen[k]));
    const said = overlay.parentNode.parentNode.querySelector("[role=status]");
    if (map) {
      row.k[map[1]].forEach(([x0, y0, x1, y1], k) => {
        const value = map[3][k] / 100, fill = value < 0 ? "#7b3294" : "#e66101";
        const patch = draw("rect", {x: x0, y: y0, width: x1 - x0, height: y1 - y0, fill, "fill-opacity": 0.8 * Math.abs(value)});
        parts.push(patch);
      });
    }
    // Shares have but one side.
    const signed = rows.some((one) => (one.m || []).some((other) => other[3].some((value) => value < 0)));
    const scale = map && (signed ? `±${map[2]} in all pictures; orange above 0, purple below` : `${map[2]} in all pictures`);
    if (said) said.textContent = map ? `${data.mapped}. Full colour: ${scale}.` : "";
    overlay.replaceChildren(...parts, ...boxes(row));
  };

  const curves = (row) => {
    const W = 460, H = 230, left = 46, right = 12, top = 10, bottom = 36;
    const values = row.c.map((one) => one.map((value) => value === null ? null : value * data.step));
    const every = values.flat().filter((value) => value !== null);
    const low = Math.min(0, ...every), high = Math.max(0, ...every), span = high - low || 1;
    const last = data.places.length - 1 || 1;
    const x = (k) => left + (W - left - right) * k / last, y = (value) => top + (H - top - bottom) * (high - value) / span;
    const text = (at, up, anchor, words) => draw("text", {x: at, y: up, "text-anchor": anchor, "font-size": 11, fill: "currentColor"}, words);
    const svg = draw("svg", {viewBox: `0 0 ${W} ${H}`, class: "curves", role: "img", "aria-label": `${data.axes[1]} by ${data.axes[0]} in this example; the same numbers are in the table`});
    svg.append(draw("line", {x1: left, x2: W - right, y1: y(0), y2: y(0), stroke: "currentColor", "stroke-opacity": 0.5}));
    const labelled = [0, ...[low, high].filter((value) => Math.abs(y(value) - y(0)) > 12)];
    for (const value of labelled) svg.append(text(left - 5, y(value) + 4, "end", written(value)));
    // What the order goes by: one layer of one curve.
    const sought = opposed() && values[curve][place_] !== null ? values[curve][place_] : undefined;
    if (sought !== undefined) svg.append(draw("line", {class: "sought", x1: x(place_), x2: x(place_), y1: top, y2: H - bottom, stroke: "currentColor", "stroke-dasharray": "3 3"}));
    const step = Math.max(1, Math.ceil(data.places.length / 12));
    data.places.forEach((name, k) => { if (k % step === 0) svg.append(text(x(k), H - bottom + 15, "middle", String(name))); });
    svg.append(text((left + W - right) / 2, H - 4, "middle", data.axes[0]));
    const head = make("tr", {}, ...[data.axes[1], data.peak, `at ${data.axes[0].toLowerCase()}`].map((text) => make("th", {scope: "col", text})));
    const body = make("tbody");
    values.forEach((one, k) => {
      const [label, named] = data.series[k], colour = named === "#000000" ? "currentColor" : named;
      const points = one.map((value, j) => value === null ? null : `${x(j).toFixed(1)},${y(value).toFixed(1)}`).filter(Boolean);
      if (!points.length) return;
      const line = draw("polyline", {points: points.join(" "), fill: "none", stroke: colour, "stroke-width": opposed() && k === curve ? 4 : 2});
      line.append(draw("title", {}, label));
      svg.append(line);
      const at = one.reduce((best, value, j) => value !== null && (best < 0 || Math.abs(value) > Math.abs(one[best])) ? j : best, -1);
      const key = make("span", {className: "key"});
      key.style.background = colour;
      body.append(make("tr", {}, make("th", {scope: "row"}, key, label), make("td", {text: written(one[at])}), make("td", {text: String(data.places[at])})));
    });
    if (sought !== undefined) {
      const ring = draw("circle", {class: "sought", cx: x(place_), cy: y(sought), r: 6, fill: "none", stroke: "currentColor", "stroke-width": 2});
      ring.append(draw("title", {}, `${data.series[curve][0]}, ${data.axes[0].toLowerCase()} ${data.places[place_]}: ${signed(sought)}`));
      svg.append(ring);
    }
    return make("div", {className: "numbers"}, svg, make("table", {}, make("thead", {}, head), body));
  };

  list.addEventListener("click", (event) => {
    const button = event.target.closest("button");
    if (button) show(rows[Number(button.dataset.number)]);
  });
  list.addEventListener("keydown", (event) => {
    const item = event.target.closest("li");
    if (!item) return;
    if (event.key === "Enter") {
      event.preventDefault();
      show(rows[Number(event.target.closest("button").dataset.number)]);
      detail.focus();
      return;
    }
    const next = {
      ArrowDown: () => item.nextElementSibling, ArrowUp: () => item.previousElementSibling,
      Home: () => list.firstElementChild, End: () => list.lastElementChild,
    }[event.key];
    if (!next) return;
    event.preventDefault();
    const to = next();
    if (!to) return;
    const button = to.querySelector("button");
    show(rows[Number(button.dataset.number)]);
    button.focus();
  });
  detail.addEventListener("keydown", (event) => {
    const stop = event.key === "Escape" && list.querySelector("[tabindex='0']");
    if (stop) stop.focus();
  });
  more.addEventListener("click", () => {
    const from = room;
    room += PAGE;
    fill();
    // The button may be gone: go on with the first of what it has brought.
    const first = list.children[from];
    if (first) { show(rows[Number(first.querySelector("button").dataset.number)]); first.querySelector("button").focus(); }
  });
  for (const control of [type, answered, order, search, least_, most_]) control.addEventListener("input", filter);
  // A range is one of the numbers of a curve: of another it says nothing.
  for (const control of [by, at]) control.addEventListener("input", cleared);
  all.addEventListener("click", cleared);
  // A mark of a chart that is of a curve of the examples: their numbers become those of that curve, there.
  document.addEventListener("pointed", (event) => {
    const {label, x, from} = event.detail, k = data.series.findIndex(([name]) => name === label), layer = data.places.indexOf(x);
    if (!curved || k < 0 || layer < 0) return;
    if (opposed()) order.value = "low";
    by.value = String(k);
    at.value = String(layer);
    cleared();
    const link = make("a", {href: "#browse", text: `Its ${shown.length} examples, by ${label} at ${depth.toLowerCase()} ${x}`});
    let said = from.parentNode.querySelector(".pointed");
    if (!said) from.after(said = make("p", {className: "small pointed", role: "status"}));
    said.replaceChildren(link);
  });
  if (data.against) {
    controls.append(contradict);
    contradict.addEventListener("click", () => {
      if (!opposed()) before = order.value;
      order.value = opposed() ? before : "against";
      filter();
    });
  }
  place.replaceChildren(controls, brush, gallery, count, make("div", {className: "split"}, make("div", {}, list, more), detail));
  filter();
})();
