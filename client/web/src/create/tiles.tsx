import { imageIndex, run, shownStep } from "../generation/current.ts";
import { Picture } from "../ui/picture.tsx";

/** Every image of a generation of several, small. The chosen one is shown large. */
export function Tiles() {
  const shown = run.value;
  const count = shown?.accepted.value?.count ?? 1;
  if (shown === undefined || count === 1) return null;
  return (
    <div
      class="tiles"
      role="group"
      aria-label="Images of this generation"
      data-revision={shown.album.revision.value}
    >
      {Array.from({ length: count }, (_, index) => (
        <button
          key={index}
          type="button"
          class="tile"
          aria-pressed={index === imageIndex.value}
          onClick={() => (imageIndex.value = index)}
        >
          <Picture blob={latest(index)} label={`Image ${index + 1}`} />
        </button>
      ))}
    </div>
  );
}

function latest(index: number): Blob | undefined {
  const album = run.value?.album;
  const moments = album?.moments(index) ?? [];
  const step = shownStep.value;
  if (step === undefined) return album?.result(index)?.blob ?? moments.at(-1)?.x0;
  return moments.findLast((moment) => moment.step <= step)?.x0;
}
