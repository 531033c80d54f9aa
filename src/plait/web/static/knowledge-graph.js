// SPDX-License-Identifier: Apache-2.0
// The picture of a knowledge graph: sigma.js draws it, a worker arranges it. The tables on the same
// page say all of it in words, and are what there is without this script or without WebGL.
"use strict";

const PER_NODE = 10, PER_EDGE = 3, KEPT = 8;

for (const figure of document.querySelectorAll("figure[data-graph]")) draw(figure);

async function draw(figure) {
  const words = JSON.parse(figure.dataset.words);
  const state = figure.querySelector(".told");
  const place = figure.querySelector(".canvas");
  const beside = figure.querySelector(".beside");
  const say = (text) => { state.textContent = text; };
  let data, graph, view;
  try {
    const answer = await fetch(figure.dataset.graph, { credentials: "same-origin" });
    if (!answer.ok) throw new Error(String(answer.status));
    data = await answer.json();
    if (!data.nodes.length) return;
    for (const part of figure.querySelectorAll("[hidden]")) part.hidden = false;
    graph = built(data);
    view = shown(graph, place);
  } catch (error) {
    figure.querySelector(".drawing").hidden = true;
    figure.querySelector(".graph-tools").hidden = true;
    say(words.failed);
    console.warn(error);
    return;
  }
  figure.dataset.ready = "yes";
  figure.view = view;
  const chosen = { sources: new Set(data.sources.keys()), sure: 0, near: null, by: "type" };
  const known = new Map(data.nodes.map((node, number) => [node[0], number]));

  let inks = { node: () => "#888", edge: "#888", back: "#888" };

  // What is left out by source or confidence, and what stands back while one is looked at.
  view.setSetting("edgeReducer", (edge, held) => {
    const out = !chosen.sources.has(held.source) || held.sure < chosen.sure;
    const back = chosen.near && !(graph.source(edge) === chosen.near || graph.target(edge) === chosen.near);
    if (out || back) return { ...held, hidden: true };
    return { ...held, color: inks.edge, size: chosen.near ? 1.6 : held.size };
  });
  view.setSetting("nodeReducer", (node, held) => {
    if (held.sources.length && !held.sources.some((one) => chosen.sources.has(one))) {
      return { ...held, hidden: true };
    }
    const drawn = { ...held, color: inks.node(node) };
    if (!chosen.near) return drawn;
    if (node === chosen.near) return { ...drawn, highlighted: true, forceLabel: true };
    return graph.areNeighbors(node, chosen.near)
      ? { ...drawn, forceLabel: graph.degree(chosen.near) < 40 }
      : { ...drawn, label: "", color: inks.back };
  });

  const tell = async (parameters) => {
    const address = new URL(figure.dataset.facts, location.href);
    for (const [name, value] of Object.entries(parameters)) address.searchParams.set(name, value);
    const answer = await fetch(address, { credentials: "same-origin" });
    if (answer.ok) beside.innerHTML = await answer.text();
    beside.scrollTop = 0;
  };
  const look = (node, move) => {
    chosen.near = node;
    view.refresh({ skipIndexation: true });
    if (!node) return;
    if (move) {
      const at = view.getNodeDisplayData(node);
      const still = matchMedia("(prefers-reduced-motion: reduce)").matches;
      view.getCamera().animate({ x: at.x, y: at.y, ratio: graph.order > 500 ? 0.25 : 0.6 }, { duration: still ? 0 : 300 });
    }
    void tell({ entity: graph.getNodeAttribute(node, "id") });
    void expand(node);
  };

  // A look at an entity also brings what stands around it and was not drawn.
  const expand = async (node) => {
    const address = new URL(figure.dataset.graph, location.href);
    address.searchParams.set("entity", graph.getNodeAttribute(node, "id"));
    const answer = await fetch(address, { credentials: "same-origin" });
    if (!answer.ok) return;
    const more = await answer.json();
    const source = more.sources.map((name) => number(data.sources, name));
    const type = more.types.map((name) => number(data.types, name));
    const predicate = more.predicates.map((name) => number(data.predicates, name));
    const before = graph.order, center = graph.getNodeAttributes(node);
    const names = more.nodes.map(([id, label, kind, sources, degree], place) => {
      if (!known.has(id)) {
        const name = graph.order;
        known.set(id, name);
        data.nodes.push([id, label, kind < 0 ? -1 : type[kind], sources.map((one) => source[one]), degree]);
        const turn = (2 * Math.PI * place) / more.nodes.length;
        graph.addNode(String(name), attributes(data.nodes[name],
          center.x + 6 * Math.cos(turn), center.y + 6 * Math.sin(turn), smallness(before)));
      }
      return String(known.get(id));
    });
    for (const one of source) chosen.sources.add(one);
    for (const [from, to, kind, of, sure, brought] of more.edges) {
      const known = graph.edges(names[from], names[to]).some((edge) => {
        const held = graph.getEdgeAttributes(edge);
        return held.predicate === predicate[kind] && held.source === source[of];
      });
      if (!known) graph.addDirectedEdge(names[from], names[to],
        { predicate: predicate[kind], source: source[of], sure, brought, size: 0.8 });
    }
    if (graph.order > before) paint();
  };

  view.on("clickNode", ({ node }) => look(node, false));
  view.on("clickStage", ({ event }) => {
    const edge = nearest(graph, view, event);
    if (edge === null) { look(null); return; }
    const [a, b] = graph.extremities(edge);
    void tell({ entity: graph.getNodeAttribute(a, "id"), other: graph.getNodeAttribute(b, "id") });
  });

  const paint = () => {
    const { groups, of } = grouped(data, graph, chosen.by, words);
    inks = { node: (node) => groups[of(node)].color, edge: colour("--graph-edge"), back: colour("--rule") };
    const list = figure.querySelector(".colours");
    list.replaceChildren(...groups.filter((one) => one.count).map((one) => {
      const item = document.createElement("li"), mark = document.createElement("span");
      mark.className = "dot";
      mark.style.backgroundColor = one.color;
      item.append(mark, ` ${one.name} (${one.count.toLocaleString()})`);
      return item;
    }));
    view.refresh();
  };
  paint();
  arrange(figure, graph, view, () => {
    const drawn = words.drawn.replace("{n}", data.nodes.length.toLocaleString())
      .replace("{of}", data.entities.toLocaleString()).replace("{e}", data.edges.length.toLocaleString());
    say(drawn);
    figure.dataset.arranged = "yes";
  });
  say(words.arranging);

  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
    view.setSetting("labelColor", { color: colour("--ink") });
    paint();
  });

  figure.querySelector("#graph-colour").addEventListener("change", (event) => {
    chosen.by = event.target.value;
    paint();
  });
  const sure = figure.querySelector("#graph-sure");
  sure.addEventListener("input", () => {
    chosen.sure = Number(sure.value);
    figure.querySelector("output").textContent = chosen.sure.toFixed(2);
    view.refresh({ skipIndexation: true });
  });
  figure.querySelector(".legend div").replaceChildren(...data.sources.map((name, place) => {
    const label = document.createElement("label"), box = document.createElement("input");
    box.type = "checkbox";
    box.checked = true;
    box.addEventListener("change", () => {
      if (box.checked) chosen.sources.add(place); else chosen.sources.delete(place);
      view.refresh({ skipIndexation: true });
    });
    label.append(box, ` ${name}`);
    return label;
  }));

  const find = figure.querySelector("#graph-find");
  const list = figure.querySelector("#graph-names");
  find.addEventListener("input", () => {
    const key = find.value.trim().toLowerCase();
    const fits = key ? data.nodes.filter((node) => node[1].toLowerCase().includes(key)).slice(0, 12) : [];
    list.replaceChildren(...fits.map((node) => new Option(node[1], node[1])));
    const exact = data.nodes.findIndex((node) => node[1].toLowerCase() === key);
    if (exact >= 0) look(String(exact), true);
  });
  find.addEventListener("keydown", (event) => {
    if (event.key !== "Enter") return;
    event.preventDefault();
    const key = find.value.trim().toLowerCase();
    const place = data.nodes.findIndex((node) => node[1].toLowerCase().includes(key));
    if (key && place >= 0) look(String(place), true); else say(words.nothing);
  });
  const camera = view.getCamera();
  figure.querySelector(".zoom").addEventListener("click", (event) => {
    const what = event.target.dataset.do;
    if (what === "in") void camera.animatedZoom({ duration: 150 });
    if (what === "out") void camera.animatedUnzoom({ duration: 150 });
    if (what === "fit") void camera.animatedReset({ duration: 150 });
  });
}

function number(names, name) {
  const place = names.indexOf(name);
  return place >= 0 ? place : names.push(name) - 1;
}

function colour(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}

function attributes([id, label, type, sources, degree], x, y, small) {
  return { id, label, type: "circle", kind: type, sources, degree, x, y,
    size: small * Math.min(18, 2.5 + 1.4 * Math.log2(1 + degree)) };
}

// Nodes of large graphs are drawn smaller, so that the lines between them stay to be seen.
function smallness(count) {
  return count > 2000 ? 0.45 : count > 500 ? 0.7 : count > 80 ? 1 : 1.7;
}

function built(data) {
  const graph = new graphology.MultiDirectedGraph();
  let seed = 7;
  const random = () => { // the same picture each time
    seed = (seed * 1664525 + 1013904223) % 4294967296;
    return seed / 4294967296;
  };
  const small = smallness(data.nodes.length), thin = data.nodes.length > 80 ? 0.8 : 2;
  const wide = 30 * Math.sqrt(data.nodes.length);
  data.nodes.forEach((node, place) => {
    const turn = 2 * Math.PI * random(), far = wide * Math.sqrt(random());
    graph.addNode(String(place), attributes(node, far * Math.cos(turn), far * Math.sin(turn), small));
  });
  for (const [from, to, predicate, source, sure, brought] of data.edges) {
    graph.addDirectedEdge(String(from), String(to), { predicate, source, sure, brought, size: thin });
  }
  return graph;
}

function shown(graph, place) {
  // Points and lines of one pixel cost a tenth of discs and ribbons where no graphics card draws.
  const { EdgeLineProgram, NodePointProgram } = Sigma.rendering;
  const plain = graph.size > 3000 || graph.order > 1500
    ? { edgeProgramClasses: { line: EdgeLineProgram }, nodeProgramClasses: { circle: NodePointProgram } } : {};
  return new Sigma(graph, place, {
    ...plain,
    renderEdgeLabels: false, hideEdgesOnMove: graph.size > 8000,
    hideLabelsOnMove: true, labelDensity: graph.order > 80 ? 0.5 : 2, labelGridCellSize: 140,
    stagePadding: graph.order > 80 ? 30 : Math.min(90, place.clientWidth / 8), labelRenderedSizeThreshold: graph.order > 80 ? 7 * smallness(graph.order) : 0,
    labelColor: { color: colour("--ink") }, labelFont: getComputedStyle(place).fontFamily,
    defaultDrawNodeHover: hover, zIndex: false, allowInvalidContainer: true, minEdgeThickness: 0.5,
  });
}

// The line within some pixels of a click. Looking for it here spares drawing all lines twice.
function nearest(graph, view, { x, y }) {
  const at = view.viewportToGraph({ x, y }), aside = view.viewportToGraph({ x: x + 5, y });
  let best = null, least = Math.hypot(aside.x - at.x, aside.y - at.y);
  graph.forEachEdge((edge, held, from, to, a, b) => {
    if (view.getEdgeDisplayData(edge)?.hidden) return;
    const wide = b.x - a.x, high = b.y - a.y, length = wide * wide + high * high;
    const part = length ? ((at.x - a.x) * wide + (at.y - a.y) * high) / length : 0;
    const on = Math.min(1, Math.max(0, part));
    const far = Math.hypot(at.x - a.x - on * wide, at.y - a.y - on * high);
    if (far < least) { least = far; best = edge; }
  });
  return best;
}

function hover(context, data, settings) {
  const size = settings.labelSize, text = data.label || "";
  context.font = `600 ${size}px ${settings.labelFont}`;
  const width = context.measureText(text).width + 12;
  context.fillStyle = colour("--surface");
  context.strokeStyle = colour("--strong-rule");
  context.beginPath();
  context.roundRect(data.x + data.size + 2, data.y - size / 2 - 5, width, size + 10, 5);
  context.fill();
  context.stroke();
  context.beginPath();
  context.arc(data.x, data.y, data.size + 3, 0, 2 * Math.PI);
  context.stroke();
  context.fillStyle = colour("--ink");
  context.fillText(text, data.x + data.size + 8, data.y + size / 3);
}

// Groups by size; those behind the first few share one colour, named in the legend.
function grouped(data, graph, by, words) {
  const keys = new Array(graph.order).fill(-1);
  if (by === "type") {
    graph.forEachNode((node, held) => { keys[node] = held.kind; });
  } else if (by === "source") {
    graph.forEachNode((node, held) => {
      keys[node] = held.sources.length > 1 ? -2 : held.sources.length ? held.sources[0] : -1;
    });
  } else {
    graph.forEachEdge((edge, held, from, to) => {
      for (const end of [from, to]) {
        if (held.brought >= 0 && (keys[end] < 0 || held.brought < keys[end])) keys[end] = held.brought;
      }
    });
  }
  const names = { type: data.types, source: data.sources, contribution: data.contributions }[by];
  const counts = new Map();
  for (const key of keys) counts.set(key, (counts.get(key) || 0) + 1);
  const large = [...counts.keys()].filter((key) => key >= 0)
    .sort((a, b) => counts.get(b) - counts.get(a) || a - b);
  const kept = new Map(large.slice(0, KEPT).map((key, place) => [key, place]));
  const groups = [...kept].map(([key, place]) =>
    ({ name: names[key], color: colour(`--graph-${place}`), count: counts.get(key) }));
  const rest = large.slice(KEPT).reduce((sum, key) => sum + counts.get(key), 0);
  groups.push({ name: words.other, color: colour("--graph-other"), count: rest });
  groups.push({ name: words.several, color: colour("--graph-several"), count: counts.get(-2) || 0 });
  groups.push({ name: words.none, color: colour("--graph-none"), count: counts.get(-1) || 0 });
  const behind = groups.length - 3;
  const of = (node) => keys[node] === -1 ? behind + 2 : keys[node] === -2 ? behind + 1
    : kept.has(keys[node]) ? kept.get(keys[node]) : behind;
  return { groups, of };
}

function arrange(figure, graph, view, ended) {
  const nodes = new Float32Array(graph.order * PER_NODE);
  const edges = new Float32Array(graph.size * PER_EDGE);
  const index = new Map();
  let at = 0;
  graph.forEachNode((node, held) => {
    index.set(node, at);
    nodes.set([held.x, held.y, 0, 0, 0, 0, 1, 1, held.size, 0], at);
    at += PER_NODE;
  });
  at = 0;
  graph.forEachEdge((edge, held, from, to) => {
    const a = index.get(from), b = index.get(to);
    edges.set([a, b, 1], at);
    nodes[a + 6] += 1;
    nodes[b + 6] += 1;
    at += PER_EDGE;
  });
  const many = graph.order;
  const settings = {
    linLogMode: false, outboundAttractionDistribution: false, adjustSizes: false,
    edgeWeightInfluence: 1, scalingRatio: 10, strongGravityMode: true,
    gravity: many > 1000 ? 0.01 : 0.05, slowDown: 1 + Math.log(many + 1),
    barnesHutOptimize: many > 800, barnesHutTheta: 0.8,
  };
  const still = matchMedia("(prefers-reduced-motion: reduce)").matches;
  const worker = new Worker(figure.dataset.worker);
  const settled = many;
  worker.onmessage = ({ data }) => {
    if (!still || data.ended) {
      let place = 0;
      graph.updateEachNodeAttributes((node, held) => {
        if (Number(node) >= settled) return held;
        const x = data.nodes[place], y = data.nodes[place + 1];
        place += PER_NODE;
        return { ...held, x, y };
      }, { attributes: ["x", "y"] });
    }
    if (data.ended) { worker.terminate(); ended(); }
  };
  worker.onerror = () => ended();
  worker.postMessage({ nodes, edges, settings, core: figure.dataset.core,
    steps: many > 2000 ? 160 : 300 });
}
