// SPDX-License-Identifier: Apache-2.0
// The worker that arranges a graph by ForceAtlas2 (Jacomy et al. 2014), with graphology's own step.
"use strict";

self.onmessage = ({ data }) => {
  self.module = {};
  importScripts(data.core);
  const iterate = self.module.exports;
  const { nodes, edges, steps, settings } = data;
  let done = 0;
  const turn = () => {
    const until = performance.now() + 120;
    while (done < steps && performance.now() < until) {
      iterate(settings, nodes, edges);
      done += 1;
    }
    self.postMessage({ nodes: nodes.slice(), done, ended: done >= steps });
    if (done < steps) setTimeout(turn, 0);
  };
  turn();
};
