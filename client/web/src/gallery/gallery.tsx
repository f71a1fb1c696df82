// The strip of recent generations: a tile for each, one of which is watched with a click.
import { useEffect, useRef } from "preact/hooks";
import { type Generation, Generation_State } from "../gen/denoised/v1/generations_pb.ts";
import { run, watch } from "../generation/current.ts";
import { shortName } from "../models/catalog.ts";
import { isOver, moreToShow, recent, showMore } from "./recent.ts";
import { dropThumbnail, thumbnails, wantThumbnail } from "./thumbnails.ts";

export function Gallery() {
  const list = recent.value;
  return (
    <section class="gallery" aria-label="Recent generations">
      <h2>
        Recent
        <span class="hint number">{list && `${list.length}${moreToShow.value ? "+" : ""}`}</span>
      </h2>
      {list === undefined && <p class="loading">Asking for recent generations…</p>}
      {list?.length === 0 && (
        <p class="explanation">
          None yet. What you generate appears here, and so does what others start with a{" "}
          <code>--request-id</code>.
        </p>
      )}
      {list && list.length > 0 && <Strip list={list} />}
    </section>
  );
}

function Strip({ list }: { list: readonly Generation[] }) {
  const shownName = run.value?.name;
  const strip = useRef<HTMLUListElement>(null);
  const inTabOrder = list.some(({ name }) => name === shownName) ? shownName : list[0]?.name;
  return (
    <ul ref={strip} onKeyDown={(event) => moveFocus(event, strip.current)}>
      {list.map((generation) => (
        <Tile
          key={generation.name}
          generation={generation}
          shown={generation.name === shownName}
          tabIndex={generation.name === inTabOrder ? 0 : -1}
        />
      ))}
      {moreToShow.value && <EndOfStrip key={`end ${list.length}`} />}
    </ul>
  );
}

// One stop of the Tab key; the arrows move within.
function moveFocus(event: KeyboardEvent, strip: HTMLUListElement | null): void {
  const tiles = [...(strip?.querySelectorAll("button") ?? [])];
  const at = tiles.indexOf(document.activeElement as HTMLButtonElement);
  const next = { ArrowRight: at + 1, ArrowLeft: at - 1, Home: 0, End: tiles.length - 1 }[event.key];
  if (next === undefined || at < 0) return;
  event.preventDefault();
  tiles[Math.max(0, Math.min(next, tiles.length - 1))]?.focus();
}

function Tile({
  generation,
  shown,
  tabIndex,
}: {
  generation: Generation;
  shown: boolean;
  tabIndex: number;
}) {
  const item = useRef<HTMLLIElement>(null);
  const succeeded = generation.state === Generation_State.SUCCEEDED;
  useEffect(() => {
    if (item.current && succeeded) return whileVisible(item.current, generation);
  }, [generation.name, succeeded]);
  const thumbnail = thumbnails.value.get(generation.name);
  const count = generation.accepted?.count ?? 1;
  return (
    <li ref={item}>
      <button
        type="button"
        class="recent"
        data-state={Generation_State[generation.state].toLowerCase()}
        aria-current={shown ? "true" : undefined}
        title={describe(generation)}
        tabIndex={tabIndex}
        onClick={() => watch(generation)}
      >
        <span class="hidden">{describe(generation)}</span>
        {thumbnail ? <img src={thumbnail} alt="" /> : <Badge generation={generation} />}
        {count > 1 && <span class="times">×{count}</span>}
      </button>
    </li>
  );
}

const whileVisible = (element: Element, generation: Generation) =>
  watchVisibility(element, (visible) => {
    if (visible) wantThumbnail(generation);
    else dropThumbnail(generation.name);
  });

/** Tells when `element` comes into sight and leaves it. Returns what stops that. */
function watchVisibility(element: Element, tell: (visible: boolean) => void): () => void {
  // A busy browser reports several changes at once; the last one holds.
  const observer = new IntersectionObserver((changes) =>
    tell(changes.at(-1)?.isIntersecting === true),
  );
  observer.observe(element);
  return () => observer.disconnect();
}

function Badge({ generation }: { generation: Generation }) {
  const { stepsDone = 0, stepsTotal = 0 } = generation.progress ?? {};
  if (!isOver(generation)) {
    const percent = stepsTotal === 0 ? 0 : Math.floor((100 * stepsDone) / stepsTotal);
    return <span class="badge number">{percent}%</span>;
  }
  const signs: Partial<Record<Generation_State, string>> = {
    [Generation_State.FAILED]: "failed",
    [Generation_State.CANCELLED]: "cancelled",
    [Generation_State.PAUSED]: "paused",
  };
  return <span class="badge">{signs[generation.state] ?? ""}</span>;
}

function describe({ accepted, state, error }: Generation): string {
  const made = accepted
    ? `${shortName(accepted.model)}, seed ${accepted.seed}, ${accepted.steps} steps`
    : "a generation";
  const why = error === "" ? "" : `: ${error}`;
  return `${made}, ${Generation_State[state].toLowerCase()}${why}`;
}

function EndOfStrip() {
  const end = useRef<HTMLLIElement>(null);
  useEffect(() => {
    if (end.current === null) return;
    return watchVisibility(end.current, (visible) => {
      if (visible) showMore();
    });
  }, []);
  return (
    <li ref={end} class="loading">
      …
    </li>
  );
}
