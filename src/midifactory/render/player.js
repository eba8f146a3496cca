// Plays the notes of the page by oscillators: one piece at a time, a position line, nothing fetched.
"use strict";
(() => {
  const music = JSON.parse(document.getElementById("music").textContent);
  const volume = document.getElementById("volume");
  const AHEAD = 0.4, TICK_MS = 80, MOST_VOICES = 64;
  let context = null, master = null, noise = null, playing = null;

  // By families of General MIDI, eight programs each: wave, attack s, seconds to fall to a third, level kept, brightness.
  const FAMILIES = [
    ["triangle", 0.004, 0.5, 0, 8], ["sine", 0.002, 0.35, 0, 12], ["square", 0.02, 9, 0.5, 3], ["triangle", 0.004, 0.35, 0, 7],
    ["triangle", 0.006, 0.5, 0.2, 5], ["sawtooth", 0.07, 9, 0.5, 3], ["sawtooth", 0.09, 9, 0.5, 3], ["sawtooth", 0.03, 9, 0.5, 4],
    ["square", 0.03, 9, 0.45, 4], ["sine", 0.04, 9, 0.7, 6], ["sawtooth", 0.01, 9, 0.4, 6], ["triangle", 0.2, 9, 0.7, 4],
    ["triangle", 0.15, 9, 0.6, 5], ["triangle", 0.005, 0.3, 0, 9], ["sine", 0.002, 0.2, 0, 9], ["sine", 0.01, 0.4, 0.2, 5],
  ];

  function open() {
    if (context) return;
    context = new (window.AudioContext || window.webkitAudioContext)();
    master = context.createGain();
    const limiter = context.createDynamicsCompressor();
    master.connect(limiter).connect(context.destination);
    noise = context.createBuffer(1, context.sampleRate, context.sampleRate);
    const samples = noise.getChannelData(0);
    for (let i = 0; i < samples.length; i++) samples[i] = 2 * Math.random() - 1;
    setVolume();
  }
  function setVolume() {
    if (master) master.gain.setTargetAtTime((volume.value / 100) ** 2 * 0.5, context.currentTime, 0.02);
  }

  function pitched(out, at, duration, pitch, velocity, program) {
    const [wave, attack, fall, kept, bright] = FAMILIES[Math.min(15, program >> 3)];
    const frequency = 440 * 2 ** ((pitch - 69) / 12), peak = 0.32 * (velocity / 127) ** 1.5;
    const source = context.createOscillator(), filter = context.createBiquadFilter(), gain = context.createGain();
    source.type = wave;
    source.frequency.value = frequency;
    filter.frequency.value = Math.min(12000, frequency * bright);
    const end = at + Math.max(duration, 0.04);
    gain.gain.setValueAtTime(0, at);
    gain.gain.linearRampToValueAtTime(peak, at + attack);
    gain.gain.setTargetAtTime(peak * kept, at + attack, fall);
    gain.gain.setTargetAtTime(0, end, 0.05);
    source.connect(filter).connect(gain).connect(out);
    source.start(at);
    source.stop(end + 0.4);
    return source;
  }
  function drum(out, at, pitch, velocity) {
    const gain = context.createGain(), low = pitch < 37 || (pitch > 40 && pitch < 52 && pitch % 2 && pitch !== 49);
    const long = [46, 49, 51, 52, 55, 57, 59].includes(pitch), fall = low ? 0.09 : long ? 0.25 : 0.045;
    gain.gain.setValueAtTime(0.5 * (velocity / 127) ** 1.5, at);
    gain.gain.setTargetAtTime(0, at, fall);
    let source;
    if (low) {
      source = context.createOscillator();
      source.frequency.setValueAtTime(pitch < 37 ? 130 : 60 + 3 * pitch, at);
      source.frequency.exponentialRampToValueAtTime(pitch < 37 ? 42 : 60, at + 0.15);
      source.connect(gain).connect(out);
    } else {
      const filter = context.createBiquadFilter();
      filter.type = pitch < 42 ? "bandpass" : "highpass";
      filter.frequency.value = pitch < 42 ? 1900 : 6500;
      source = context.createBufferSource();
      source.buffer = noise;
      source.connect(filter).connect(gain).connect(out);
    }
    source.start(at);
    source.stop(at + 6 * fall);
    return source;
  }

  const clock = seconds => seconds < 59.5 ? `${Math.round(seconds)} s`
    : `${Math.floor(Math.round(seconds) / 60)}:${String(Math.round(seconds) % 60).padStart(2, "0")}`;

  class Piece {
    constructor(figure) {
      this.figure = figure;
      this.notes = music[figure.dataset.piece].notes;
      this.seconds = music[figure.dataset.piece].seconds;
      this.button = figure.querySelector(".play");
      this.seek = figure.querySelector(".seek");
      this.line = figure.querySelector(".now");
      this.time = figure.querySelector(".time");
      this.roll = figure.querySelector(".roll");
      this.name = figure.querySelector("h3").textContent;
      this.position = 0;
      this.button.addEventListener("click", () => this.timer ? this.stop() : this.play());
      this.seek.addEventListener("input", () => this.go(Number(this.seek.value)));
      this.roll.addEventListener("click", event => {
        const box = this.roll.getBoundingClientRect();
        this.go(this.seconds * (event.clientX - box.left) / box.width);
      });
    }
    play() {
      open();
      context.resume();
      if (playing) playing.stop();
      playing = this;
      if (this.position >= this.seconds - 0.05) this.position = 0;
      this.begin();
      this.timer = setInterval(() => this.schedule(), TICK_MS);
      this.button.textContent = "Stop";
      this.button.setAttribute("aria-label", `Stop ${this.name}`);
      this.draw();
    }
    begin() {
      this.out = context.createGain();
      this.out.connect(master);
      this.sources = [];
      this.zero = context.currentTime + 0.06 - this.position;
      this.next = this.notes.findIndex(note => note[0] >= this.position - 1e-3);
      if (this.next < 0) this.next = this.notes.length;
      this.schedule();
    }
    schedule() {
      const now = context.currentTime - this.zero;
      while (this.next < this.notes.length && this.notes[this.next][0] < now + AHEAD) {
        const [onset, duration, pitch, velocity, program] = this.notes[this.next++];
        const at = Math.max(this.zero + onset, context.currentTime);
        this.sources = this.sources.filter(source => !source.over);
        if (this.sources.length >= MOST_VOICES) continue;
        const source = program < 0 ? drum(this.out, at, pitch, velocity)
          : pitched(this.out, at, duration, pitch, velocity, program);
        source.onended = () => { source.over = true; source.disconnect(); };
        this.sources.push(source);
      }
      if (now > this.seconds + 0.3) { this.position = 0; this.stop(); this.show(); }
    }
    silence() {
      const out = this.out;
      out.gain.setTargetAtTime(0, context.currentTime, 0.015);
      setTimeout(() => out.disconnect(), 200);
    }
    stop() {
      clearInterval(this.timer);
      this.timer = null;
      this.silence();
      if (playing === this) playing = null;
      this.button.textContent = "Play";
      this.button.setAttribute("aria-label", `Play ${this.name}`);
    }
    go(seconds) {
      this.position = Math.min(this.seconds, Math.max(0, seconds));
      if (this.timer) { this.silence(); this.begin(); }
      this.show();
    }
    draw() {
      if (!this.timer) return;
      this.position = Math.min(this.seconds, Math.max(0, context.currentTime - this.zero));
      this.show();
      requestAnimationFrame(() => this.draw());
    }
    show() {
      const place = `${100 * this.position / this.seconds}%`;
      this.line.setAttribute("x1", place);
      this.line.setAttribute("x2", place);
      this.seek.value = this.position;
      const text = `${clock(this.position)} of ${clock(this.seconds)}`;
      if (this.time.textContent !== text) this.time.textContent = text;
      const scroll = this.roll.parentElement, x = this.position / this.seconds * this.roll.clientWidth;
      if (this.timer && (x < scroll.scrollLeft || x > scroll.scrollLeft + 0.9 * scroll.clientWidth)) scroll.scrollLeft = x - 40;
    }
  }
  volume.addEventListener("input", setVolume);
  for (const figure of document.querySelectorAll("figure.piece")) new Piece(figure);
})();
