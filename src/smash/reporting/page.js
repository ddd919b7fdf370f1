"use strict";
// Candidates are numbers here; the document's words are only ever set as text. The one piece of
// HTML that is put in is a drawing, which the program that wrote this page escaped.
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const at = (id) => document.getElementById(id);
  const still = matchMedia("(prefers-reduced-motion: reduce)");

  // Drawings: deflated, unpacked when they are wanted.
  const unpacked = new Map();
  async function drawing(number) {
    if (!unpacked.has(number)) unpacked.set(number, await unpack(data.drawings[number]));
    return unpacked.get(number);
  }
  async function unpack(packed) {
    if (packed === undefined) return "<p>This page had no room for its drawing.</p>";
    if (typeof DecompressionStream === "undefined") return "<p>This browser cannot unpack drawings.</p>";
    const bytes = Uint8Array.from(atob(packed), (letter) => letter.charCodeAt(0));
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate-raw"));
    return new Response(stream).text();
  }

  // What a part of a drawing is, in words: an item of its figure's list.
  function inWords(part) {
    const item = part.closest("figure").querySelectorAll("li")[Number(part.dataset.op.split(".")[1])];
    return item ? item.textContent : "";
  }

  // The tip: what is under the pointer, or under the keys.
  const tip = at("tip");
  function tell(number, x, y) {
    const one = data.candidates[number];
    say(one.title, [one.words, ...one.lines], x, y);
  }
  function say(title, lines, x, y) {
    const head = document.createElement("b");
    head.textContent = title;
    tip.replaceChildren(head, ...lines.flatMap((line, place) => place ? [document.createElement("br"), line] : [line]));
    if (tip.hidden) {
      tip.hidden = false;
      tip.showPopover?.();  // above the card, too
    }
    const box = tip.getBoundingClientRect();
    const left = Math.min(Math.max(8, x - box.width / 2), innerWidth - box.width - 8);
    const above = y - box.height - 16;
    tip.style.transform = `translate(${left}px, ${above > 8 ? above : y + 20}px)`;
  }
  function hush() {
    if (!tip.hidden) tip.hidePopover?.();
    tip.hidden = true;
  }
  addEventListener("scroll", hush, { passive: true });
  for (const place of [at("stage"), at("card-drawing")]) {
    if (!place) continue;
    place.addEventListener("pointermove", (event) => {
      const part = event.target.closest("[data-op]");
      if (part) say(`Op ${part.dataset.op.split(".")[1]}`, [inWords(part)], event.clientX, event.clientY); else hush();
    });
    place.addEventListener("pointerleave", hush);
  }

  // Charts of candidates: the nearest point answers, and arrow keys walk from left to right.
  const REACH = 22;
  const placeOf = (node) => node.getAttribute("d").match(/-?[\d.]+/g).slice(0, 2).map(Number);
  for (const chart of document.querySelectorAll(".choose")) {
    const points = [...chart.querySelectorAll(".point[data-i]")].map((node) => {
      const [x, y] = placeOf(node);
      return { node, number: Number(node.dataset.i), x, y };
    }).sort((one, other) => one.x - other.x || one.y - other.y);
    let chosen = -1;
    function mark(place) {
      if (chosen >= 0) points[chosen].node.classList.remove("on");
      chosen = place;
      if (place >= 0) points[place].node.classList.add("on");
    }
    function nearest(event) {
      const matrix = chart.getScreenCTM();
      let best = -1, least = REACH;
      points.forEach((point, place) => {
        const away = Math.hypot(point.x * matrix.a + matrix.e - event.clientX, point.y * matrix.d + matrix.f - event.clientY);
        if (away < least) { best = place; least = away; }
      });
      return best;
    }
    function speak(place) {
      const matrix = chart.getScreenCTM(), point = points[place];
      tell(point.number, point.x * matrix.a + matrix.e, point.y * matrix.d + matrix.f);
    }
    chart.addEventListener("pointermove", (event) => {
      const place = nearest(event);
      mark(place);
      if (place < 0) hush(); else speak(place);
    });
    chart.addEventListener("pointerleave", () => { mark(-1); hush(); });
    chart.addEventListener("click", (event) => {
      const place = nearest(event);
      if (place >= 0) { mark(place); show(points[place].number); }
    });
    chart.addEventListener("blur", () => { mark(-1); hush(); });
    chart.addEventListener("keydown", (event) => {
      const steps = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 };
      const last = points.length - 1;
      let place = chosen;
      if (event.key in steps) place = chosen < 0 ? 0 : Math.min(last, Math.max(0, chosen + steps[event.key]));
      else if (event.key === "Home") place = 0;
      else if (event.key === "End") place = last;
      else if ((event.key === "Enter" || event.key === " ") && chosen >= 0) show(points[chosen].number);
      else if (event.key === "Escape") place = -1;
      else return;
      event.preventDefault();
      mark(points.length ? place : -1);
      if (chosen < 0) hush(); else speak(chosen);
    });
  }

  // The card: one candidate, drawn.
  const card = at("card");
  let shown = 0;
  async function show(number) {
    const one = data.candidates[number];
    hush();
    shown = number;
    at("card-title").textContent = one.title;
    at("card-words").textContent = [one.words, ...one.lines].join("\n");
    const place = data.order.indexOf(number);
    at("better").disabled = place <= 0;
    at("worse").disabled = place >= data.order.length - 1;
    if (!card.open) card.showModal();
    const html = await drawing(number);
    if (shown === number) at("card-drawing").innerHTML = html;
  }
  const step = (by) => {
    const number = data.order[data.order.indexOf(shown) + by];
    if (number !== undefined) show(number);
  };
  at("better").addEventListener("click", () => step(-1));
  at("worse").addEventListener("click", () => step(1));
  at("close").addEventListener("click", () => card.close());
  card.addEventListener("click", (event) => { if (event.target === card) card.close(); });
  card.addEventListener("keydown", (event) => {
    if (event.key === "ArrowLeft") step(-1);
    if (event.key === "ArrowRight") step(1);
  });
  for (const button of document.querySelectorAll("button[data-i]"))
    button.addEventListener("click", () => show(Number(button.dataset.i)));

  // Which cost is shown.
  const choice = document.querySelector(".choice");
  if (choice) {
    const charts = document.querySelectorAll(".of-choice");
    const choose = () => {
      const value = Number(choice.querySelector("input:checked").value);
      charts.forEach((chart, place) => { chart.hidden = place !== value; });
    };
    choice.hidden = false;
    choice.addEventListener("change", choose);
    choose();
  }
  for (const hint of document.querySelectorAll(".hint")) hint.hidden = false;

  // The film: the best architecture so far, from the first to the winner.
  const frames = data.frames, stage = at("stage");
  if (stage && frames.length > 1) {
    const SECONDS = 14, play = at("play"), when = at("when"), key = document.querySelector(".changed-key");
    const courses = document.querySelectorAll("#winner .choose");
    const pause = Math.min(900, 1000 * SECONDS / frames.length);
    let frame = frames.length - 1, timer = 0, turn = 0;
    when.max = String(frame);
    document.querySelector(".controls").hidden = false;
    key.hidden = false;

    const parts = (root) => new Map([...root.querySelectorAll("[data-op]")].map((node) => [node.dataset.op, node]));
    async function turnTo(next) {
      const mine = ++turn, before = frame;
      frame = next;
      when.value = String(next);
      when.setAttribute("aria-valuetext", frames[next].words);
      const html = await drawing(frames[next].i);
      const old = next > 0 ? await drawing(frames[next - 1].i) : null;
      if (mine !== turn) return;
      stage.style.minHeight = `${Math.max(stage.offsetHeight, parseFloat(stage.style.minHeight) || 0)}px`;
      stage.innerHTML = html;
      stage.classList.toggle("turning", before !== next && !still.matches);
      at("frame-words").textContent = frames[next].words;
      if (old) {
        const template = document.createElement("template");
        template.innerHTML = old;
        const olds = parts(template.content);
        for (const [name, node] of parts(stage)) {
          const other = olds.get(name);
          if (!other || inWords(other) !== inWords(node)) node.classList.add("changed");
        }
      }
      for (const course of courses) {
        for (const node of course.querySelectorAll(".now")) node.classList.remove("now");
        const point = course.querySelector(`.point[data-i="${frames[next].i}"]`);
        if (!point) continue;
        point.classList.add("now");
        const cursor = course.querySelector(".cursor");
        cursor.style.visibility = "visible";
        cursor.setAttribute("transform", `translate(${placeOf(point)[0] - placeOf(cursor)[0]} 0)`);
      }
    }
    function playing(on) {
      clearInterval(timer);
      timer = 0;
      play.setAttribute("aria-pressed", String(on));
      const [sign, word] = play.children;
      sign.textContent = on ? "❚❚" : "▶";
      word.textContent = on ? "Pause" : "Play";
      if (!on) return;
      turnTo(frame === frames.length - 1 ? 0 : frame);
      timer = setInterval(() => {
        if (frame < frames.length - 1) turnTo(frame + 1);
        if (frame === frames.length - 1) playing(false);
      }, pause);
    }
    play.addEventListener("click", () => playing(!timer));
    when.addEventListener("input", () => { playing(false); turnTo(Number(when.value)); });
    when.value = String(frame);
    when.setAttribute("aria-valuetext", frames[frame].words);
    // It plays once by itself, unless that is not wanted.
    if (!still.matches && !location.hash && typeof IntersectionObserver !== "undefined") {
      const watch = new IntersectionObserver((seen) => {
        if (!seen.some((one) => one.isIntersecting)) return;
        watch.disconnect();
        if (!timer && frame === frames.length - 1) playing(true);
      }, { threshold: 0.6 });
      watch.observe(at("player"));
    }
  }

  requestAnimationFrame(() => requestAnimationFrame(() => {
    document.documentElement.dataset.drawn = String(Math.round(performance.now()));
  }));
})();
