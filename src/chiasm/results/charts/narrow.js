"use strict";
// Charts on narrow screens: panels below each other instead of side by side, names of rows cut, legends in one column.
// What cannot be narrower, as heat maps with numbers in their cells, scrolls in its own box.
const fittedToRoom = (() => {
  const NARROW = 660, LETTER = 6.3, LEAST = 120;
  let wide = LEAST;

  const kinds = (part) => (part.layer || []).map((layer) => layer.mark && (layer.mark.type || layer.mark));
  const panel = (part) => part.layer && typeof part.width === "number" &&
    kinds(part).every((kind) => kind === "point" || kind === "rule" || kind === "text");
  const axes = (part, name) => part.layer.map((layer) => layer.encoding && layer.encoding[name]).filter(Boolean);
  const labelled = (part) => axes(part, "y").find((y) => y.axis && y.axis.labels !== false);
  const rowsOf = (spec, part) => part.data && (part.data.values || (spec.datasets || {})[part.data.name]) || [];

  // A panel beside another one has no names of rows of its own.
  const stacked = (part) => {
    if (part.vconcat) part.vconcat = part.vconcat.flatMap((one) => stacked(one));
    if (!part.hconcat || !part.hconcat.every(panel)) return [part];
    const names = labelled(part.hconcat[0]);
    for (const one of part.hconcat) {
      for (const y of axes(one, "y")) {
        if (names && y.axis && y.axis.labels === false) Object.assign(y, {axis: names.axis, title: names.title});
      }
    }
    return part.hconcat;
  };

  const narrowed = (spec, part, room) => {
    for (const one of part.vconcat || []) narrowed(spec, one, room);
    if (!panel(part)) return;
    const keys = axes(part, "x").every((x) => x.axis === null);
    if (keys) return listed(spec, part, room);
    const y = axes(part, "y").find((one) => one.type === "nominal");
    let beside = 96;
    if (y) {
      const longest = Math.max(...y.scale.domain.map((name) => name.length));
      beside = Math.min(longest * LETTER + 10, 0.45 * room);  // short names take more a letter
      for (const one of axes(part, "y")) if (one.axis) one.axis.labelLimit = beside;
      beside += y.title ? 46 : 28;
    }
    for (const x of axes(part, "x")) if (x.axis) x.axis.tickCount = 4;
    wide = part.width = Math.max(LEAST, room - beside);
  };

  // The legend of points, which is drawn from marks: one name in a line.
  const listed = (spec, part, room) => {
    const rows = rowsOf(spec, part), step = 21;
    rows.forEach((row, k) => { row.x = 0; row.y = k * step; });
    part.width = wide;
    part.height = Math.max(1, (rows.length - 1) * step + 1);
    for (const x of axes(part, "x")) x.scale.domain = [0, part.width];
    for (const y of axes(part, "y")) y.scale.domain = [0, part.height];
  };

  // Names at the ends of lines stand beside the panel.
  const named = (spec) => {
    const names = (spec.layer || []).find((layer) => layer.mark && layer.mark.type === "text" && layer.encoding.text.field === "label");
    return names ? Math.max(0, ...rowsOf(spec, names).map((row) => row.label.length)) * LETTER + 8 : 0;
  };

  return (spec, room) => {
    // Titles of charts are written for their full width; on narrow screens the page's own heading and text stand instead.
    if (room >= NARROW) return spec;
    delete spec.title;
    if (spec.hconcat) Object.assign(spec, {vconcat: stacked(spec), hconcat: undefined});
    else stacked(spec);
    narrowed(spec, spec, room);
    // Cells with numbers in them keep their width.
    if (typeof spec.width === "number" && kinds(spec).includes("line")) {
      spec.width = Math.max(LEAST, Math.min(spec.width, room - 76 - named(spec)));
    }
    if (spec.facet && spec.spec && typeof spec.spec.width === "number") {
      spec.columns = 1;
      spec.spec.width = Math.max(LEAST, room - 100);
    }
    for (const part of [spec, spec.spec || {}]) {
      for (const layer of part.layer || []) {
        for (const channel of Object.values(layer.encoding || {})) {
          if (channel.legend && channel.legend.columns) channel.legend.columns = 1;
        }
      }
    }
    return spec;
  };
})();
