// The numbers of evaluations (docs/evaluation.md).
import type { EvaluationResult } from "../gen/denoised/v1/training_pb.ts";
import { blobOf } from "../generation/album.ts";
import { significant } from "../ui/units.ts";
import { Sheet } from "./sheet.tsx";

interface Measure {
  name: string;
  of: (result: EvaluationResult) => number | undefined;
}

const measures: Measure[] = [
  { name: "Fréchet distance", of: ({ frechetDistance }) => frechetDistance },
  { name: "precision", of: ({ precision }) => precision },
  { name: "recall", of: ({ recall }) => recall },
  { name: "density", of: ({ density }) => density },
  { name: "coverage", of: ({ coverage }) => coverage },
  { name: "memorisation", of: ({ memorisationRate }) => memorisationRate },
  { name: "bits per dimension", of: ({ bitsPerDim }) => bitsPerDim },
];

interface MeasuresProps {
  /** One column each. */
  results: readonly { title: string; result: EvaluationResult | undefined }[];
}

export function Measures({ results }: MeasuresProps) {
  const known = measures.filter(({ of }) =>
    results.some(({ result }) => result && of(result) !== undefined),
  );
  return (
    <table class="measures">
      <thead>
        <tr>
          <th scope="col">Evaluation</th>
          {results.map(({ title }, i) => (
            <th key={i} scope="col" class="number">
              {title}
            </th>
          ))}
        </tr>
      </thead>
      <tbody>
        {known.map(({ name, of }) => (
          <tr key={name}>
            <th scope="row">{name}</th>
            {results.map(({ result }, i) => (
              <td key={i} class="number">
                {textOf(result && of(result))}
              </td>
            ))}
          </tr>
        ))}
      </tbody>
    </table>
  );
}

const textOf = (value: number | undefined) => (value === undefined ? "–" : significant(value));

/** The result of an evaluation job. */
export function Evaluation({ result }: { result: EvaluationResult }) {
  const sheet = result.nearestNeighboursSheet;
  return (
    <section class="evaluation" aria-label="Evaluation">
      <Measures results={[{ title: `${result.samples} samples`, result }]} />
      {sheet && (
        <Sheet
          blob={blobOf(sheet)}
          width={sheet.width}
          label="Samples beside their nearest pictures of the data set"
        />
      )}
    </section>
  );
}
