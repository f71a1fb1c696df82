// Where the generation is, and what went wrong with it.
import type { Run } from "../generation/run.ts";
import { generate, run } from "../generation/current.ts";
import { online } from "../gallery/recent.ts";
import { shortName } from "../models/catalog.ts";
import { ConfirmButton } from "../ui/confirm-button.tsx";
import { Notice } from "../ui/notice.tsx";
import { duration } from "../ui/units.ts";

export function RunStatus() {
  const shown = run.value;
  if (shown === undefined) {
    return (
      <div class="status">
        <p class="headline">Nothing generated yet</p>
        <p class="explanation">
          Choose what to make, then press Generate. The curve below shows what the sampler will do.
        </p>
      </div>
    );
  }
  return (
    <div class="status">
      <p class="headline" role="status">
        {headline(shown)}
      </p>
      <p class="explanation number">{description(shown)}</p>
      <Buttons of={shown} />
      <ProgressBar of={shown} />
      <Notices of={shown} />
    </div>
  );
}

function Buttons({ of }: { of: Run }) {
  if (of.state.value === "paused")
    return (
      <div class="row">
        <button type="button" class="small" onClick={() => void of.resume()}>
          Resume
        </button>
        <ConfirmButton
          label="Give up"
          question="Give up this generation?"
          onConfirm={() => void of.discard()}
        />
      </div>
    );
  if (of.ended) return null;
  return (
    <div class="row">
      <button
        type="button"
        class="small"
        disabled={of.stopping || of.moving.value || of.accepted.value === undefined}
        onClick={() => void of.pause()}
      >
        Pause
      </button>
      <button
        type="button"
        class="cancel small"
        disabled={of.stopping || of.moving.value}
        onClick={() => void of.cancel()}
      >
        Cancel
      </button>
    </div>
  );
}

function headline(shown: Run): string {
  switch (shown.state.value) {
    case "starting":
      return "Asking the server…";
    case "queued": {
      const ahead = shown.queuePosition.value ?? 0;
      const place = ahead === 0 ? "Next in the queue" : `Queued: ${ahead} before this one`;
      const wait = shown.expectedWait.value;
      return wait === undefined ? place : `${place}, starts in about ${duration(wait)}`;
    }
    case "running":
      return "Denoising";
    case "cancelling":
      return "Cancelling…";
    case "pausing":
      return "Pausing…";
    case "paused":
      return "Paused";
    case "succeeded":
      return "Done";
    case "cancelled":
      return "Cancelled";
    case "failed":
      return shown.problem.value?.violations.length ? "Not accepted" : "Failed";
    case "gone":
      return "No longer kept";
  }
}

function description(shown: Run): string {
  const accepted = shown.accepted.value;
  if (accepted === undefined) return "";
  const elapsed = shown.finished.value?.elapsed;
  const dropped = shown.finished.value?.framesDropped ?? 0;
  return [
    shortName(accepted.model),
    accepted.count === 1 ? "" : `${accepted.count} images`,
    `seed ${accepted.seed}`,
    stepsText(shown),
    accepted.evaluations === accepted.steps ? "" : `${accepted.evaluations} evaluations`,
    elapsed ? `${(Number(elapsed.seconds) + elapsed.nanos / 1e9).toFixed(1)} s` : "",
    dropped > 0 ? `${dropped} frames not shown: they came faster than this page reads` : "",
  ]
    .filter((part) => part !== "")
    .join(" · ");
}

function stepsText(shown: Run): string {
  const steps = shown.accepted.value?.steps ?? 0;
  const progress = shown.progress.value;
  if (shown.ended || progress === undefined) return `${steps} steps`;
  return `${progress.stepsDone} of ${progress.stepsTotal} steps`;
}

function ProgressBar({ of }: { of: Run }) {
  const progress = of.progress.value;
  const total = progress?.stepsTotal ?? 0;
  const done = of.state.value === "succeeded" ? total : (progress?.stepsDone ?? 0);
  return (
    <progress
      class="progress"
      max={total || 1}
      value={total === 0 && of.state.value === "succeeded" ? 1 : done}
      aria-label="Steps done"
      data-running={!of.ended}
    />
  );
}

function Notices({ of }: { of: Run }) {
  const problem = of.problem.value;
  const waiting = of.waiting.value;
  const cut = of.accepted.value?.prompt?.truncated === true;
  return (
    <>
      {waiting && (
        <Notice kind="info" title={waiting.connectionLost ? "Connection lost" : waiting.title}>
          {waiting.connectionLost
            ? "The generation continues on the server. This page comes back to it as soon as it can."
            : `${waiting.message}. This page tries again by itself.`}
        </Notice>
      )}
      {of.startedAgain.value && (
        <Notice kind="info" title="The server has restarted">
          The generation was started again. The same seed makes the same images.
        </Notice>
      )}
      {cut && (
        <Notice kind="info" title="The prompt is too long">
          The model reads its beginning only: {of.accepted.value?.prompt?.tokens} tokens.
        </Notice>
      )}
      {of.state.value === "gone" && (
        <Notice kind="info" title="The server does not have this generation any more">
          <p>
            Results are kept for a while, and not across a restart. The settings make them again.
          </p>
          <button type="button" onClick={generate}>
            Generate again
          </button>
        </Notice>
      )}
      {problem && of.state.value !== "gone" && problem.violations.length === 0 && (
        <Notice kind="error" title={problem.title}>
          {problem.message}
        </Notice>
      )}
      {problem && problem.violations.length > 0 && (
        <Notice kind="error" title={problem.title}>
          Each wrong field says what it allows. Correct it and press Generate.
        </Notice>
      )}
      {!online.value && !waiting && of.ended && (
        <Notice kind="info" title="Server not reached">
          What was received stays here. The page tries again by itself.
        </Notice>
      )}
    </>
  );
}
