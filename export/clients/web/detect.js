// Runs a TFLite detector on a picture and shows what it finds. All files come from this folder.
import {
  FilesetResolver,
  ObjectDetector,
} from "./node_modules/@mediapipe/tasks-vision/vision_bundle.mjs";

const WASM_FOLDER = "./node_modules/@mediapipe/tasks-vision/wasm";
const COLORS = [
  "#e6194b", "#0082c8", "#3cb44b", "#f58231", "#911eb4", "#008080", "#9a6324", "#808000",
];

const element = (id) => document.getElementById(id);
const minScore = element("min-score");
let detector = null;
let picture = null;
let found = [];
let milliseconds = 0;

/** Says what goes on; tests and styles read the state too. */
function tell(state, text) {
  document.documentElement.dataset.state = state;
  element("status").textContent = text;
}

/** Does one step and says whether it went well; a failure becomes one line of text. */
async function attempt(what, step) {
  tell("busy", `${what} …`);
  try {
    await step();
    return true;
  } catch (error) {
    element("result").hidden = true;
    const [reason] = String(error.message ?? error).split("\n"); // traces follow
    tell("failed", `${what} failed: ${reason}`);
    return false;
  }
}

/** Loads one of the two files; detects when both are there. */
async function load(what, step) {
  if (!(await attempt(what, step))) return;
  if (detector && picture) {
    await attempt("Detecting", detect);
  } else {
    tell("idle", detector ? "Choose a picture." : "Choose a model.");
  }
}

async function loadModel(file) {
  detector?.close();
  detector = null;
  const content = new Uint8Array(await file.arrayBuffer());
  const files = await FilesetResolver.forVisionTasks(WASM_FOLDER);
  detector = await ObjectDetector.createFromOptions(files, {
    baseOptions: { modelAssetBuffer: content, delegate: "CPU" },
    runningMode: "IMAGE",
    scoreThreshold: 0,
  });
}

async function loadPicture(file) {
  picture?.close();
  picture = null;
  // Turned upright as its EXIF data say.
  picture = await createImageBitmap(file, { imageOrientation: "from-image" });
}

async function detect() {
  await new Promise(requestAnimationFrame); // so that the status is painted before the work
  const start = performance.now();
  found = detector.detect(picture).detections.map(({ boundingBox, categories: [category] }) => ({
    label: category.categoryName,
    score: category.score,
    left: boundingBox.originX,
    top: boundingBox.originY,
    right: boundingBox.originX + boundingBox.width,
    bottom: boundingBox.originY + boundingBox.height,
  }));
  milliseconds = Math.round(performance.now() - start);
  show();
}

/** Draws and lists the detections from the smallest score on. */
function show() {
  const kept = found.filter(({ score }) => score >= minScore.valueAsNumber);
  const labels = [...new Set(found.map(({ label }) => label))].sort();
  const colorOf = (label) => COLORS[labels.indexOf(label) % COLORS.length];
  element("result").hidden = false;
  draw(kept, colorOf);
  element("detections").replaceChildren(...kept.map((one) => tableRow(one, colorOf(one.label))));
  const size = `${picture.width} × ${picture.height} pixels`;
  tell("done", `${kept.length} of ${found.length} detections in ${milliseconds} ms; ${size}.`);
}

function draw(detections, colorOf) {
  const canvas = element("canvas");
  // No higher than the list beside it.
  canvas.style.maxWidth = `${(80 * picture.width) / picture.height}vh`;
  // As many pixels as the screen gives the canvas: labels stay sharp and legible.
  canvas.width = Math.round(canvas.clientWidth * devicePixelRatio);
  const unit = devicePixelRatio * Math.min(1, Math.max(0.75, canvas.clientWidth / 700));
  const scale = canvas.width / picture.width;
  canvas.height = Math.round(picture.height * scale);
  const pen = canvas.getContext("2d");
  pen.drawImage(picture, 0, 0, canvas.width, canvas.height);
  pen.lineWidth = 2 * unit;
  pen.font = `600 ${12 * unit}px system-ui, sans-serif`;
  pen.textBaseline = "top";
  const fromWorst = [...detections].reverse();
  for (const { label, left, top, right, bottom } of fromWorst) {
    pen.strokeStyle = colorOf(label);
    pen.strokeRect(left * scale, top * scale, (right - left) * scale, (bottom - top) * scale);
  }
  for (const { label, score, left, top } of fromWorst) {
    const text = `${label} ${score.toFixed(2)}`;
    const [width, height] = [pen.measureText(text).width + 8 * unit, 17 * unit];
    const x = Math.min(Math.max(left * scale - pen.lineWidth / 2, 0), canvas.width - width);
    const y = Math.max(top * scale - height, 0);
    pen.fillStyle = colorOf(label);
    pen.fillRect(x, y, width, height);
    pen.fillStyle = "white";
    pen.fillText(text, x + 4 * unit, y + 3 * unit);
  }
}

function tableRow({ label, score, left, top, right, bottom }, color) {
  const row = document.createElement("tr");
  for (const text of [label, score.toFixed(3), left, top, right, bottom]) {
    row.insertCell().textContent = typeof text === "number" ? Math.round(text) : text;
  }
  const swatch = document.createElement("span");
  swatch.className = "swatch";
  swatch.style.background = color;
  row.cells[0].prepend(swatch);
  return row;
}

async function fetched(address) {
  const answer = await fetch(address);
  if (!answer.ok) {
    throw new Error(`${address}: ${answer.status} ${answer.statusText}`);
  }
  return answer.blob();
}

element("model").addEventListener("change", ({ target: { files } }) => {
  if (files.length) load("Loading the model", () => loadModel(files[0]));
});
element("picture").addEventListener("change", ({ target: { files } }) => {
  if (files.length) load("Reading the picture", () => loadPicture(files[0]));
});
minScore.addEventListener("input", () => {
  element("min-score-value").textContent = minScore.valueAsNumber.toFixed(2);
  if (!element("result").hidden) show();
});
window.addEventListener("resize", () => {
  if (!element("result").hidden) show();
});

// ?model=...&picture=...&min-score=... does the same without a hand.
const asked = new URLSearchParams(location.search);
if (asked.has("min-score")) {
  minScore.value = asked.get("min-score");
  minScore.dispatchEvent(new Event("input"));
}
if (asked.has("picture")) {
  const address = asked.get("picture");
  await load("Reading the picture", async () => loadPicture(await fetched(address)));
}
if (asked.has("model") && document.documentElement.dataset.state !== "failed") {
  const address = asked.get("model");
  await load("Loading the model", async () => loadModel(await fetched(address)));
}
