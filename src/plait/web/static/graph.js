// SPDX-License-Identifier: Apache-2.0
// Zooming, dragging and tracing in a large graph. Without it, the picture scrolls and is searched.
"use strict";

for (const tools of document.querySelectorAll("[data-zoom]")) {
  const frame = document.getElementById(tools.dataset.zoom);
  const picture = frame?.querySelector("svg");
  if (!picture) continue;
  tools.hidden = false;
  const width = Number(picture.getAttribute("width"));
  const height = Number(picture.getAttribute("height"));
  let scale = 1;

  const zoom = (wanted, x, y) => {
    const next = Math.min(4, Math.max(0.1, wanted));
    const box = frame.getBoundingClientRect();
    const px = (x ?? box.left + box.width / 2) - box.left;
    const py = (y ?? box.top + box.height / 2) - box.top;
    const left = (frame.scrollLeft + px) * (next / scale) - px;
    const top = (frame.scrollTop + py) * (next / scale) - py;
    scale = next;
    picture.style.width = `${width * scale}px`;
    picture.style.height = `${height * scale}px`;
    picture.style.maxWidth = "none";
    frame.scrollTo(left, top);
  };
  for (const button of tools.querySelectorAll("[data-by]")) {
    button.addEventListener("click", () => {
      const by = Number(button.dataset.by);
      zoom(by ? scale * by : Math.min(1, (frame.clientWidth - 4) / width));
    });
  }
  frame.addEventListener("wheel", (event) => {
    if (!event.ctrlKey) return;
    event.preventDefault();
    zoom(scale * (event.deltaY < 0 ? 1.15 : 0.87), event.clientX, event.clientY);
  }, { passive: false });

  let held = null;
  frame.addEventListener("pointerdown", (event) => {
    if (event.button !== 0 || event.pointerType === "touch") return;
    held = { x: event.clientX, y: event.clientY, moved: false };
  });
  frame.addEventListener("pointermove", (event) => {
    if (!held) return;
    const [dx, dy] = [event.clientX - held.x, event.clientY - held.y];
    if (!held.moved && Math.abs(dx) + Math.abs(dy) < 5) return;
    if (!held.moved) frame.setPointerCapture(event.pointerId);
    Object.assign(held, { x: event.clientX, y: event.clientY, moved: true });
    frame.scrollBy(-dx, -dy);
  });
  frame.addEventListener("pointerup", () => { held = null; });
  frame.addEventListener("dragstart", (event) => event.preventDefault());

  // What a box was made from, and what was made of it.
  const arrows = [...picture.querySelectorAll("[data-from]")];
  for (const box of picture.querySelectorAll("[data-node]")) {
    const show = (on) => {
      for (const arrow of arrows) {
        const mine = arrow.dataset.from === box.dataset.node || arrow.dataset.to === box.dataset.node;
        arrow.classList.toggle("on", on && mine);
      }
    };
    for (const [name, on] of [["mouseenter", true], ["focus", true], ["mouseleave", false], ["blur", false]]) {
      box.addEventListener(name, () => show(on));
    }
  }
  picture.querySelector(".hit")?.scrollIntoView({ block: "nearest", inline: "center" });
}
