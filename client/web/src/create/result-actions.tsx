// What one can do with the picture that is shown.
import {
  imageIndex,
  run,
  shownMoment,
  shownPredicted,
  shownResult,
} from "../generation/current.ts";
import { shortName } from "../models/catalog.ts";
import { download, extensionOf } from "../ui/download.ts";
import { startFromPicture } from "./start-fields.tsx";

/** "emoji-32-117.png", and with the step for a frame. */
function fileName(blob: Blob, index: number, step: number | undefined): string {
  const accepted = run.peek()?.accepted.peek();
  const seed = BigInt.asUintN(64, (accepted?.seed ?? 0n) + BigInt(index));
  const frame = step === undefined ? "" : `-step-${String(step).padStart(3, "0")}`;
  return `${shortName(accepted?.model ?? "image")}-${seed}${frame}.${extensionOf(blob)}`;
}

function downloadAll(): void {
  const album = run.peek()?.album;
  const count = run.peek()?.accepted.peek()?.count ?? 0;
  for (let index = 0; index < count; index++) {
    const result = album?.result(index);
    if (result) download(result.blob, fileName(result.blob, index, undefined));
  }
}

export function ResultActions() {
  const blob = shownResult.value?.blob ?? shownPredicted.value;
  const step = shownResult.value ? undefined : shownMoment.value?.step;
  const count = run.value?.accepted.value?.count ?? 1;
  const done = run.value?.state.value === "succeeded";
  return (
    <div class="result-actions">
      <button
        type="button"
        class="quiet"
        disabled={blob === undefined}
        onClick={() => blob && void startFromPicture(blob)}
      >
        Start from this
      </button>
      {count > 1 && (
        <button type="button" class="quiet" disabled={!done} onClick={downloadAll}>
          Download all {count}
        </button>
      )}
      <button
        type="button"
        class="quiet"
        disabled={blob === undefined}
        onClick={() => blob && download(blob, fileName(blob, imageIndex.peek(), step))}
      >
        Download
      </button>
    </div>
  );
}
