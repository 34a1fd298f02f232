"use strict";
// Draws every chart of the page over its static drawing when it comes near the window. Expressions are interpreted
// (`ast`): the page's policy forbids `eval`. Black and the faintest grey follow the page's, so that charts can be read in the dark;
// on paper the static drawings stand.
(() => {
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const places = [...document.querySelectorAll("[data-chart]")];
  const drawn = new Set();

  const colours = () => {
    const style = getComputedStyle(document.documentElement);
    const [ink, line, faint] = ["--ink", "--line", "--faint"].map((name) => style.getPropertyValue(name).trim());
    // White, and the ink of words over pictures and colours, stay as they are.
    return {ink, line, inks: {"#000000": ink, "#e4e4e4": faint}};
  };

  const draw = async (place) => {
    drawn.add(place);
    const {ink, line, inks} = colours();
    let text = document.getElementById(place.dataset.chart).textContent;
    if (dark.matches) {
      for (const [from, to] of Object.entries(inks)) text = text.replaceAll(`"${from}"`, `"${to}"`);
    }
    const config = {
      // One name for the drawing; its marks have none.
      aria: false,
      axis: {labelColor: ink, titleColor: ink, domainColor: line, tickColor: line, gridColor: line},
      legend: {labelColor: ink, titleColor: ink, labelLimit: 230}, header: {labelColor: ink, titleColor: ink},
      title: {color: ink, subtitleColor: ink}
    };
    const options = {mode: "vega-lite", ast: true, actions: false, renderer: "svg", config, tooltip: {theme: "custom"}};
    const drawing = document.createElement("div");
    drawing.className = "drawing";
    try {
      const {view} = await vegaEmbed(drawing, fittedToRoom(JSON.parse(text), place.clientWidth), options);
      // Vega-Lite's own double click does not reach legends: anywhere in a chart it brings all back.
      if (text.includes('"name":"kept"')) {
        drawing.addEventListener("dblclick", () => view.data("kept_store", []).runAsync());
      }
      // Whoever has the examples behind a mark can show them.
      view.addEventListener("click", (_, item) => {
        const mark = item && item.datum;
        if (!mark || mark.label === undefined || mark.x === undefined) return;
        document.dispatchEvent(new CustomEvent("pointed", {detail: {label: mark.label, x: mark.x, from: place}}));
      });
      const svg = drawing.querySelector("svg");
      for (const part of svg.querySelectorAll("[role]")) {
        for (const name of ["role", "aria-label", "aria-roledescription"]) part.removeAttribute(name);
      }
      svg.setAttribute("role", "img");
      svg.setAttribute("aria-label", place.dataset.label);
      for (const old of place.querySelectorAll(":scope > .drawing")) old.remove();
      place.append(drawing);
      place.classList.add("drawn");
      place.dispatchEvent(new Event("drawn", {bubbles: true}));
    } catch (error) { console.error("chart", place.dataset.chart, error); }
    place.classList.remove("waiting");
  };

  const near = new IntersectionObserver((seen) => {
    for (const one of seen) {
      if (!one.isIntersecting) continue;
      near.unobserve(one.target);
      draw(one.target);
    }
  }, {rootMargin: "600px"});
  for (const place of places) near.observe(place);
  // On narrow screens a chart is taller than its still drawing, which is too small to be read there: all that are in view
  // on the page are drawn at once, so that nothing moves under a reader who scrolls.
  const all = async () => {
    for (const place of places) place.classList.add("waiting");
    for (const place of places) {
      if (drawn.has(place) || !place.clientWidth) continue;
      near.unobserve(place);
      await draw(place);
      await new Promise((next) => setTimeout(next));
    }
  };
  if (matchMedia("(max-width: 700px)").matches) all();
  dark.addEventListener("change", () => { for (const place of drawn) draw(place); });
})();
