// The picture while it appears: the noisy image and the predicted one, their place on the noise curve,
// and the way back through every step.
import { signal } from "@preact/signals";
import type { ComponentChildren } from "preact";
import { useEffect, useRef } from "preact/hooks";
import { selectedModel } from "../models/catalog.ts";
import {
  imageIndex,
  run,
  shownMoment,
  shownNoisy,
  shownPredicted,
  shownResult,
} from "../generation/current.ts";
import { Picture } from "../ui/picture.tsx";
import { NoiseCurve } from "./noise-curve.tsx";
import { ResultActions } from "./result-actions.tsx";
import { RunStatus } from "./run-status.tsx";
import { StepScrubber } from "./step-scrubber.tsx";
import { Tiles } from "./tiles.tsx";

type Layout = "pair" | "wipe";

const layout = signal<Layout>("pair");
/** Where the wipe is, in percent: the noisy image is on its left. */
const wipe = signal(50);

const largestCrispSide = 128;

export function Stage() {
  const accepted = run.value?.accepted.value;
  const width = accepted?.width ?? selectedModel.value?.width ?? 32;
  const height = accepted?.height ?? selectedModel.value?.height ?? 32;
  const stage = useRef<HTMLElement>(null);
  useEffect(() => {
    // On a small screen the button that starts a generation is far below.
    if (run.value) stage.current?.scrollIntoView({ block: "start" });
  }, [run.value]);
  return (
    <section
      ref={stage}
      class="stage"
      aria-label="The picture"
      data-run={run.value?.name}
      data-state={run.value?.state.value}
      data-step={shownMoment.value?.step}
      data-crisp={Math.max(width, height) <= largestCrispSide}
      style={{ "--w": width, "--h": height }}
    >
      <RunStatus />
      {layout.value === "pair" ? <Pair /> : <Wipe />}
      <Tiles />
      <div class="instruments">
        <div class="row stage-actions">
          <LayoutChoice />
          <ResultActions />
        </div>
        <StepScrubber />
        <NoiseCurve />
      </div>
    </section>
  );
}

// An image of a generation that has none yet, or of none.
function useShown() {
  const moment = shownMoment.value;
  const result = shownResult.value;
  const step = moment === undefined ? "" : `step ${moment.step}`;
  const number = imageIndex.value + 1;
  return {
    noisy: {
      blob: shownNoisy.value,
      caption: step,
      label: moment ? `The noisy image ${number} after ${step}` : "The noisy image: none yet",
    },
    predicted: {
      blob: result?.blob ?? shownPredicted.value,
      caption: result ? `seed ${result.seed}` : step,
      label: result
        ? `The finished image ${number}, seed ${result.seed}`
        : moment
          ? `The predicted image ${number} after ${step}`
          : "The predicted image: none yet",
    },
    finished: result !== undefined,
  };
}

interface Side {
  blob: Blob | undefined;
  label: string;
  caption: string;
}

function Pair() {
  const { noisy, predicted, finished } = useShown();
  return (
    <div class="panes" data-layout="pair">
      <Pane
        kind="noise"
        name={<NoisyName />}
        purpose="Here you see what the network is given: less noise after every step."
        side={noisy}
      />
      <Pane
        kind="signal"
        name={finished ? "finished" : <PredictedName />}
        purpose="And here the image that it expects to come out, from the first step on."
        side={predicted}
      />
    </div>
  );
}

const NoisyName = () => (
  <>
    x<sub>t</sub> noisy
  </>
);
const PredictedName = () => (
  <>
    x<sub>0</sub> predicted
  </>
);

interface PaneProps {
  kind: "noise" | "signal";
  name: ComponentChildren;
  /** What will be seen here. */
  purpose: string;
  side: Side;
}

function Pane({ kind, name, purpose, side }: PaneProps) {
  return (
    <figure class={`pane ${kind}`} data-empty={side.blob === undefined}>
      <div class="frame-space">
        <div class="frame">
          <Picture blob={side.blob} label={side.label} />
          {run.value === undefined && <p class="pane-purpose">{purpose}</p>}
        </div>
      </div>
      <figcaption>
        <span class="kind">{name}</span>
        <span class="number">{side.caption}</span>
      </figcaption>
    </figure>
  );
}

function Wipe() {
  const { noisy, predicted, finished } = useShown();
  return (
    <div class="panes" data-layout="wipe" style={{ "--wipe": `${wipe.value}%` }}>
      <figure class="pane" data-empty={predicted.blob === undefined}>
        <div class="frame-space">
          <div class="frame">
            <Picture blob={predicted.blob} label={predicted.label} />
            <div class="wiped">
              <Picture blob={noisy.blob} label={noisy.label} />
            </div>
            <input
              class="wipe-handle"
              type="range"
              min="0"
              max="100"
              value={wipe.value}
              aria-label="Divide between the noisy image on the left and the predicted one on the right"
              onInput={(event) => (wipe.value = Number(event.currentTarget.value))}
            />
          </div>
        </div>
        <figcaption>
          <span class="kind noise-text">
            <NoisyName />
          </span>
          <span class="number">{noisy.caption}</span>
          <span class="kind signal-text">{finished ? "finished" : <PredictedName />}</span>
        </figcaption>
      </figure>
    </div>
  );
}

function LayoutChoice() {
  const choices: { id: Layout; label: string }[] = [
    { id: "pair", label: "Side by side" },
    { id: "wipe", label: "Slider" },
  ];
  return (
    <div class="choices" role="radiogroup" aria-label="How the two images are shown">
      {choices.map(({ id, label }) => (
        <label key={id} class="choice">
          <input
            type="radio"
            name="layout"
            checked={layout.value === id}
            onChange={() => (layout.value = id)}
          />
          <span>{label}</span>
        </label>
      ))}
    </div>
  );
}
