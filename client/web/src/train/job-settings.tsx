import { reflect } from "@bufbuild/protobuf/reflect";
import type { TrainingJob } from "../gen/denoised/v1/training_pb.ts";
import {
  EvaluationSettingsSchema,
  TrainingSettingsSchema,
} from "../gen/denoised/v1/training_settings_pb.ts";
import { type Settings, settingsOf } from "../request/fields.ts";

/** Every setting of a job as the server has resolved it. */
export function JobSettings({ job }: { job: TrainingJob }) {
  const settings = Object.entries(resolved(job)).filter(([, text]) => text !== "");
  return (
    <details class="job-settings">
      <summary>
        Settings <span class="hint">{settings.length}</span>
      </summary>
      <dl class="facts">
        {settings.map(([path, text]) => (
          <div key={path}>
            <dt class="number">{path}</dt>
            <dd class="number">{text}</dd>
          </div>
        ))}
      </dl>
    </details>
  );
}

function resolved({ work }: TrainingJob): Settings {
  switch (work.case) {
    case "training":
      return settingsOf(reflect(TrainingSettingsSchema, work.value));
    case "evaluation":
      return settingsOf(reflect(EvaluationSettingsSchema, work.value));
    default:
      return {};
  }
}
