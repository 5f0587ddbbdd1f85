"use strict";
// A chart of one or two lines over the last minutes, as SVG that is drawn anew with each point.
class Chart {
  // With `binary` the axis ends at a power of two, as units of bytes do.
  constructor(place, names, format, binary = false) {
    this.binary = binary;
    this.place = place;
    this.names = names;
    this.format = format;
    this.points = [];
  }
  add(values) {
    this.points.push(values);
    if (this.points.length > 120) this.points.shift();
    this.draw();
  }
  draw() {
    const width = this.place.clientWidth, height = this.place.clientHeight;
    if (!width) return;
    const left = 58, right = 8, top = 10, bottom = 20, space = "http://www.w3.org/2000/svg";
    const make = (name, attributes, text) => {
      const node = document.createElementNS(space, name);
      for (const key in attributes) node.setAttribute(key, attributes[key]);
      if (text !== undefined) node.textContent = text;
      return node;
    };
    const all = this.points.flat().filter((value) => value !== null);
    const highest = Math.max(this.binary ? 1024 : 1, ...all), scale = 10 ** Math.floor(Math.log10(highest));
    const max = this.binary ? 2 ** Math.ceil(Math.log2(highest))
      : [1, 2, 5, 10].map((factor) => factor * scale).find((bound) => bound >= highest);
    const y = (value) => top + (height - top - bottom) * (1 - value / max);
    const x = (i) => width - right - (this.points.length - 1 - i) * (width - left - right) / 119;
    const last = this.points[this.points.length - 1] || [];
    const label = this.names.map((name, i) => name + " " + (last[i] == null ? "none" : this.format(last[i]))).join(", ");
    const svg = make("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": label });
    for (let i = 0; i <= 2; i++) {
      const value = max * i / 2;
      svg.append(make("line", { class: "grid", x1: left, x2: width - right, y1: y(value), y2: y(value) }));
      svg.append(make("text", { x: left - 6, y: y(value) + 4, "text-anchor": "end" }, this.format(value)));
    }
    this.names.forEach((name, line) => {
      const kind = line ? "b" : "a";
      let path = "", pen = "M";
      this.points.forEach((values, i) => {
        if (values[line] === null) { pen = "M"; return; }
        path += pen + x(i).toFixed(1) + " " + y(values[line]).toFixed(1);
        pen = "L";
      });
      if (path) svg.append(make("path", { class: kind, d: path }));
      svg.append(make("circle", { class: "key-" + kind, cx: left + 5 + line * 130, cy: height - 6, r: 4 }));
      const now = last[line] == null ? "–" : this.format(last[line]);
      svg.append(make("text", { x: left + 14 + line * 130, y: height - 2 }, `${name} ${now}`));
    });
    // Beside two names it has no room on a phone.
    if (width >= 400) svg.append(make("text", { x: width - right, y: height - 2, "text-anchor": "end" }, "last 2 min"));
    this.place.replaceChildren(svg);
  }
}
