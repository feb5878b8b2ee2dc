// Draws the report's charts with uPlot and shows what lies under the pointer.
(() => {
  "use strict";
  const data = JSON.parse(document.getElementById("data").textContent);
  const tip = document.getElementById("tip");
  const darkMode = matchMedia("(prefers-color-scheme: dark)");
  const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const percent = (x, digits) => (100 * x).toFixed(digits) + "%";
  const tickPercent = (u, ticks) => ticks.map((t) => +(100 * t).toFixed(6) + "%");
  const colour = (line) => (darkMode.matches ? line.dark : line.light);
  const plots = [];

  // τ prints as the shortest decimal that reads back as the same f32.
  const shortest = (x) => {
    for (let digits = 1; digits < 10; digits++) {
      const text = x.toPrecision(digits);
      if (Math.fround(+text) === Math.fround(x)) return String(+text);
    }
    return String(x);
  };

  function showTip(x, y, title, rows) {
    const head = document.createElement("b");
    head.textContent = title;
    tip.replaceChildren(head);
    for (const [name, value] of rows) {
      const row = document.createElement("div");
      for (const text of [name, value]) {
        const cell = document.createElement("span");
        cell.textContent = text;
        row.append(cell);
      }
      tip.append(row);
    }
    tip.hidden = false;
    const box = tip.getBoundingClientRect();
    const left = x + 16 + box.width > innerWidth ? x - box.width - 16 : x + 16;
    const top = y + 16 + box.height > innerHeight ? y - box.height - 16 : y + 16;
    tip.style.left = Math.max(8, left) + "px";
    tip.style.top = Math.max(8, top) + "px";
  }
  const hideTip = () => { tip.hidden = true; };

  function axis(extra) {
    return Object.assign({
      stroke: () => css("--muted"),
      font: "12px system-ui, sans-serif",
      labelFont: "12px system-ui, sans-serif",
      grid: { stroke: () => css("--grid"), width: 1 },
      ticks: { stroke: () => css("--grid"), width: 1, size: 5 },
    }, extra);
  }

  function watch(plot, host, height) {
    plots.push(plot);
    new ResizeObserver(() => {
      const size = { width: host.clientWidth, height: height() };
      if (size.width !== plot.width || size.height !== plot.height) plot.setSize(size);
    }).observe(host);
  }

  // One accuracy-offload chart.
  function curve(root) {
    const split = data.splits[+root.dataset.split];
    const host = root.querySelector(".canvas");
    const lines = split.policies;
    const columns = [data.rho];
    const series = [{}];
    const bands = [];
    const stepped = uPlot.paths.stepped({ align: 1 });
    // The router's band lies under all lines; the router itself is drawn last, on top.
    const order = lines.map((_, i) => i).sort((a, b) => lines[a].router - lines[b].router);
    const banded = lines.findIndex((line) => line.router && line.lower);
    if (banded >= 0) {
      for (const edge of ["upper", "lower"]) {
        columns.push(lines[banded][edge]);
        series.push({ stroke: "transparent", width: 0, paths: stepped, points: { show: false } });
      }
      bands.push({ series: [1, 2], fill: () => colour(lines[banded]) + "2b" });
    }
    const seriesOf = new Map();
    for (const i of order) {
      const line = lines[i];
      seriesOf.set(i, series.length);
      columns.push(line.accuracy);
      series.push({
        stroke: () => colour(line), width: line.width, dash: line.dash || undefined,
        paths: stepped, points: { show: false },
      });
    }

    let all = [split.slm, split.llm];
    for (const column of columns.slice(1)) all = all.concat(column.filter((y) => y !== null));
    const low = Math.max(0, Math.floor(20 * (Math.min(...all) - 0.02)) / 20);
    const high = Math.min(1, Math.ceil(20 * (Math.max(...all) + 0.02)) / 20);
    let zoom = 0.2;
    let near = -1;

    const dot = document.createElement("div");
    dot.className = "dot";
    dot.hidden = true;

    function drawEnds(u) {
      const { ctx, bbox } = u;
      const px = devicePixelRatio;
      ctx.save();
      ctx.beginPath();
      // A ring on the edge of the plot is drawn whole.
      ctx.rect(bbox.left - 7 * px, bbox.top, bbox.width + 14 * px, bbox.height);
      ctx.clip();
      ctx.font = 12 * px + "px system-ui, sans-serif";
      ctx.strokeStyle = ctx.fillStyle = css("--muted");
      ctx.lineWidth = px;
      ctx.textAlign = "right";
      for (const [name, y, base] of [["LLM alone ", split.llm, "bottom"], ["SLM alone ", split.slm, "top"]]) {
        const at = u.valToPos(y, "y", true);
        ctx.setLineDash([2 * px, 3 * px]);
        ctx.beginPath();
        ctx.moveTo(bbox.left, at);
        ctx.lineTo(bbox.left + bbox.width, at);
        ctx.stroke();
        ctx.textBaseline = base;
        ctx.fillText(name + percent(y, 1), bbox.left + bbox.width - 6 * px, at + (base === "top" ? 4 : -4) * px);
      }
      const router = lines.findIndex((line) => line.router);
      if (router >= 0 && u.series[seriesOf.get(router)].show) {
        ctx.setLineDash([]);
        ctx.lineWidth = 2 * px;
        ctx.strokeStyle = colour(lines[router]);
        ctx.fillStyle = css("--card");
        for (const point of split.points) {
          if (point.offload > zoom) continue;
          const x = u.valToPos(point.offload, "x", true);
          ctx.beginPath();
          ctx.moveTo(x, u.valToPos(point.interval[0], "y", true));
          ctx.lineTo(x, u.valToPos(point.interval[1], "y", true));
          ctx.stroke();
          ctx.beginPath();
          ctx.arc(x, u.valToPos(point.accuracy, "y", true), 4.5 * px, 0, 2 * Math.PI);
          ctx.fill();
          ctx.stroke();
        }
      }
      ctx.restore();
    }

    function pointAt(u) {
      const { left, top } = u.cursor;
      for (const point of split.points) {
        const dx = u.valToPos(point.offload, "x") - left;
        const dy = u.valToPos(point.accuracy, "y") - top;
        if (dx * dx + dy * dy < 64) return point;
      }
      return null;
    }

    function onCursor(u) {
      const { left, top } = u.cursor;
      if (left == null || left < 0) {
        hideTip();
        dot.hidden = true;
        if (near >= 0) { near = -1; u.setSeries(null, { focus: true }); }
        return;
      }
      const rho = u.posToVal(left, "x");
      let at = data.rho.findIndex((x) => x > rho) - 1;
      if (at < 0) at = rho < 0 ? 0 : data.rho.length - 1;
      let best = -1;
      let distance = Infinity;
      for (const i of order) {
        if (!u.series[seriesOf.get(i)].show) continue;
        const d = Math.abs(u.valToPos(lines[i].accuracy[at], "y") - top);
        // On a tie the line on top, which is drawn later.
        if (d <= distance) { best = i; distance = d; }
      }
      if (best < 0) return hideTip();
      if (near !== best) { near = best; u.setSeries(seriesOf.get(best), { focus: true }); }
      const line = lines[best];
      const box = u.over.getBoundingClientRect();
      const point = line.router ? pointAt(u) : null;
      const shown = point || { accuracy: line.accuracy[at], offload: line.offload[at], tau: line.tau[at] };
      const interval = point ? point.interval : line.lower && line.lower[at] !== null ? [line.lower[at], line.upper[at]] : null;
      const rows = [
        ["accuracy", percent(shown.accuracy, 1)],
        ["95% interval", interval ? percent(interval[0], 1) + " – " + percent(interval[1], 1) : "–"],
        ["offload", percent(shown.offload, 2)],
        ["τ", shortest(shown.tau)],
      ];
      if (point) rows.push(["target on validation", +(100 * point.target).toFixed(2) + "%"]);
      dot.hidden = false;
      dot.style.borderColor = colour(line);
      dot.style.left = u.valToPos(point ? point.offload : rho, "x") + "px";
      dot.style.top = u.valToPos(shown.accuracy, "y") + "px";
      showTip(box.left + left, box.top + top, line.name, rows);
    }

    const height = () => (host.clientWidth < 520 ? 330 : 430);
    const plot = new uPlot({
      width: host.clientWidth,
      height: height(),
      legend: { show: false },
      focus: { alpha: 0.35 },
      cursor: { y: false, drag: { setScale: false, x: false, y: false }, points: { show: false } },
      scales: { x: { time: false, range: () => [0, zoom] }, y: { range: () => [low, high] } },
      series, bands,
      axes: [
        axis({ values: tickPercent, label: "offload ratio (tokens made by the LLM)", labelSize: 20, size: 34, space: 60 }),
        axis({ values: tickPercent, size: 46 }),
      ],
      hooks: {
        draw: [drawEnds],
        setCursor: [onCursor],
        ready: [(u) => u.over.append(dot)],
      },
    }, columns, host);
    watch(plot, host, height);

    for (const button of root.querySelectorAll(".zoom button")) {
      button.addEventListener("click", () => {
        zoom = +button.dataset.max;
        for (const other of root.querySelectorAll(".zoom button")) {
          other.setAttribute("aria-pressed", String(other === button));
        }
        plot.setScale("x", { min: 0, max: zoom });
      });
    }
    legend(root.querySelector(".legend"), lines, (i, show) => {
      plot.setSeries(seriesOf.get(i), { show });
      if (i === banded) for (const edge of [1, 2]) plot.setSeries(edge, { show });
    });
  }

  // Buttons that name the lines and hide them.
  function legend(host, lines, toggle) {
    lines.forEach((line, i) => {
      const button = document.createElement("button");
      button.type = "button";
      button.setAttribute("aria-pressed", "true");
      const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
      svg.setAttribute("width", "30");
      svg.setAttribute("height", "8");
      const mark = document.createElementNS("http://www.w3.org/2000/svg", "path");
      mark.setAttribute("d", "M0 4H30");
      mark.setAttribute("stroke-width", line.width);
      if (line.dash) mark.setAttribute("stroke-dasharray", line.dash.join(" "));
      const paint = () => mark.setAttribute("stroke", colour(line));
      paint();
      darkMode.addEventListener("change", paint);
      svg.append(mark);
      button.append(svg, line.name);
      button.addEventListener("click", () => {
        const show = button.getAttribute("aria-pressed") !== "true";
        button.setAttribute("aria-pressed", String(show));
        toggle(i, show);
      });
      host.append(button);
    });
  }

  // A small chart with uPlot's own legend, which follows the pointer.
  function small(id, columns, series, xLabel, yRange) {
    const root = document.getElementById(id);
    if (!root) return;
    if (columns[0].length === 0) { root.classList.add("empty"); return; }
    const host = root.querySelector(".canvas");
    const height = () => 250;
    const plot = new uPlot({
      width: host.clientWidth, height: height(),
      cursor: { y: false, drag: { setScale: false, x: false, y: false } },
      scales: { x: { time: false, range: () => [0, 1] }, y: { range: yRange } },
      series: [{ label: xLabel, value: (u, x) => (x == null ? "–" : x.toFixed(2)) }, ...series],
      axes: [axis({ label: xLabel, labelSize: 18, size: 32, space: 50 }), axis({ values: tickPercent, size: 46 })],
    }, columns, host);
    watch(plot, host, height);
  }

  function reliability() {
    const [before, after] = data.reliability;
    const table = (bins) => [bins.map((b) => b[0]), bins.map((b) => b[1])];
    const tables = [[[0, 1], [0, 1]], table(before), table(after)];
    const share = (u, y) => (y == null ? "–" : percent(y, 1));
    const line = (label, width, name, extra) => Object.assign(
      { label, width, stroke: () => css(name), spanGaps: true, value: share }, extra);
    const empty = before.length + after.length === 0;
    small("reliability", empty ? [[]] : uPlot.join(tables), [
      line("ideal", 1, "--muted", { dash: [3, 3], points: { show: false } }),
      line("before scaling", 2, "--divergent", { dash: [6, 4], points: { show: true, size: 6 } }),
      line("after scaling", 2, "--accent", { points: { show: true, size: 7 } }),
    ], "score", () => [0, 1]);
  }

  function histogram() {
    const [keep, divergent] = data.histogram;
    const n = keep.length;
    // Bars from edge to edge: the last bin's height is held up to 1.
    const edges = n ? Array.from({ length: n + 1 }, (_, i) => i / n) : [];
    const held = (bins) => (n ? bins.concat(bins[n - 1]) : []);
    const top = Math.min(1, 1.08 * Math.max(0.01, ...keep, ...divergent));
    const share = (u, y) => (y == null ? "–" : percent(y, 1));
    const stepped = uPlot.paths.stepped({ align: 1 });
    const area = (label, name, extra) => Object.assign({
      label, width: 2, stroke: () => css(name), fill: () => css(name) + "30",
      paths: stepped, points: { show: false }, value: share,
    }, extra);
    small("histogram", [edges, held(keep), held(divergent)], [
      area("may be kept", "--accent", {}),
      area("divergent", "--divergent", { dash: [6, 3] }),
    ], "score", () => [0, top]);
  }

  function describe(token) {
    const origin = { slm: "the SLM", llm: "the LLM", degraded: "the SLM (LLM unavailable)" };
    const box = token.getClientRects()[0];
    const kind = ["slm", "llm", "degraded"].find((name) => token.classList.contains(name));
    showTip(box.left, box.bottom - 8, JSON.stringify(token.textContent), [
      ["made by", origin[kind]],
      ["score", token.dataset.s],
      ["SLM’s token", JSON.stringify(token.dataset.t)],
    ]);
  }
  for (const event of ["mouseover", "click"]) {
    document.addEventListener(event, (e) => {
      const token = e.target.closest && e.target.closest(".answer .t");
      if (token) describe(token);
      else if (!(e.target.closest && e.target.closest(".u-over"))) hideTip();
    });
  }
  addEventListener("scroll", hideTip, { passive: true });

  document.querySelectorAll(".plot").forEach(curve);
  reliability();
  histogram();
  darkMode.addEventListener("change", () => plots.forEach((plot) => plot.redraw()));
})();
