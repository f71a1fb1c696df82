interface LeftOutFilesProps {
  title: string;
  /** The first of them. */
  files: readonly { file: string; reason: string }[];
  /** How many there are. */
  total: number;
}

const mostShown = 20;

/** Files that are no part of a data set, each with the reason. */
export function LeftOutFiles({ title, files, total }: LeftOutFilesProps) {
  if (total === 0) return null;
  const shown = files.slice(0, mostShown);
  return (
    <details class="left-out" open>
      <summary>{title}</summary>
      <ul>
        {shown.map(({ file, reason }, i) => (
          <li key={i}>
            <code>{file}</code> {reason}
          </li>
        ))}
        {total > shown.length && <li class="hint">and {total - shown.length} more</li>}
      </ul>
    </details>
  );
}
