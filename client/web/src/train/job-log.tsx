import { time } from "../ui/units.ts";
import type { JobWatch } from "./job-watch.ts";

/** What has happened to a job, newest first. */
export function JobLog({ watch }: { watch: JobWatch }) {
  const entries = watch.revision.value < 0 ? [] : watch.log.toReversed();
  return (
    <section aria-labelledby="log">
      <h2 id="log">Log</h2>
      <ol class="log" tabIndex={0} aria-labelledby="log">
        {entries.map(({ sequence, kind, text, ...entry }) => (
          <li key={sequence} data-kind={kind}>
            <time class="number">{time(entry.time)}</time> {text}
          </li>
        ))}
      </ol>
    </section>
  );
}
