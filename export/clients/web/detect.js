// Runs a TFLite detector on an image and shows its detections. All files come from this folder.
import {
  FilesetResolver,
  ObjectDetector,
} from "./node_modules/@mediapipe/tasks-vision/vision_bundle.mjs";

const WASM_FOLDER = "./node_modules/@mediapipe/tasks-vision/wasm";
const COLORS = [
  "#e6194b", "#0082c8", "#3cb44b", "#f58231", "#911eb4", "#008080", "#9a6324", "#808000",
];

const element = (id) => document.getElementById(id);
const displayThreshold = element("display-threshold");
let detector = null;
let image = null;
let found = [];
let milliseconds = 0;

/** Shows the state; tests and styles read it from the document. */
function setStatus(state, text) {
  document.documentElement.dataset.state = state;
  element("status").textContent = text;
}

/** Does a step and returns whether it succeeded; shows a failure in one line. */
async function attempt(action, step) {
  setStatus("busy", `${action} …`);
  try {
    await step();
    return true;
  } catch (error) {
    element("result").hidden = true;
    const [reason] = String(error.message ?? error).split("\n"); // traces follow
    setStatus("failed", `${action} failed: ${reason}`);
    return false;
  }
}

/** Loads one of the two files and detects once both are loaded. */
async function load(action, step) {
  if (!(await attempt(action, step))) return;
  if (detector && image) {
    await attempt("Detecting", detect);
  } else {
    setStatus("idle", detector ? "Choose an image." : "Choose a model.");
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

async function loadImage(file) {
  image?.close();
  image = null;
  // Rotated as the EXIF data say.
  image = await createImageBitmap(file, { imageOrientation: "from-image" });
}

async function detect() {
  await new Promise(requestAnimationFrame); // paints the status first
  const start = performance.now();
  found = detector.detect(image).detections.map(({ boundingBox, categories: [category] }) => ({
    label: category.categoryName,
    score: category.score,
    left: boundingBox.originX,
    top: boundingBox.originY,
    right: boundingBox.originX + boundingBox.width,
    bottom: boundingBox.originY + boundingBox.height,
  }));
  milliseconds = Math.round(performance.now() - start);
  showDetections();
}

/** Draws and lists the detections from the display threshold on. */
function showDetections() {
  const kept = found.filter(({ score }) => score >= displayThreshold.valueAsNumber);
  const labels = [...new Set(found.map(({ label }) => label))].sort();
  const colorOf = (label) => COLORS[labels.indexOf(label) % COLORS.length];
  element("result").hidden = false;
  draw(kept, colorOf);
  element("detections").replaceChildren(...kept.map((each) => tableRow(each, colorOf(each.label))));
  const size = `${image.width} × ${image.height} pixels`;
  setStatus("done", `${kept.length} of ${found.length} detections in ${milliseconds} ms; ${size}.`);
}

function draw(detections, colorOf) {
  const canvas = element("canvas");
  // At most as high as the list beside it.
  canvas.style.maxWidth = `${(80 * image.width) / image.height}vh`;
  // One pixel for each pixel of the screen: labels stay sharp and legible.
  canvas.width = Math.round(canvas.clientWidth * devicePixelRatio);
  const unit = devicePixelRatio * Math.min(1, Math.max(0.75, canvas.clientWidth / 700));
  const scale = canvas.width / image.width;
  canvas.height = Math.round(image.height * scale);
  const pen = canvas.getContext("2d");
  pen.drawImage(image, 0, 0, canvas.width, canvas.height);
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
  const response = await fetch(address);
  if (!response.ok) {
    throw new Error(`${address}: ${response.status} ${response.statusText}`);
  }
  return response.blob();
}

element("model").addEventListener("change", ({ target: { files } }) => {
  if (files.length) load("Loading the model", () => loadModel(files[0]));
});
element("image").addEventListener("change", ({ target: { files } }) => {
  if (files.length) load("Reading the image", () => loadImage(files[0]));
});
displayThreshold.addEventListener("input", () => {
  element("display-threshold-value").textContent = displayThreshold.valueAsNumber.toFixed(2);
  if (!element("result").hidden) showDetections();
});
window.addEventListener("resize", () => {
  if (!element("result").hidden) showDetections();
});

// ?model=...&image=...&display-threshold=... does the same as choosing by hand.
const query = new URLSearchParams(location.search);
if (query.has("display-threshold")) {
  displayThreshold.value = query.get("display-threshold");
  displayThreshold.dispatchEvent(new Event("input"));
}
if (query.has("image")) {
  const address = query.get("image");
  await load("Reading the image", async () => loadImage(await fetched(address)));
}
if (query.has("model") && document.documentElement.dataset.state !== "failed") {
  const address = query.get("model");
  await load("Loading the model", async () => loadModel(await fetched(address)));
}
