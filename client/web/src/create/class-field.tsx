import type { ModelClass } from "../gen/denoised/v1/models_pb.ts";
import { address } from "../request/address.ts";
import { setField } from "../request/draft.ts";
import { Field, FieldGroup } from "../ui/field.tsx";

const mostButtons = 16;
const path = "class_label";

const nameOf = ({ label, displayName }: ModelClass) => displayName || `class ${label}`;

/** A button for each class, or a list where there are many. */
export function ClassField({ classes }: { classes: readonly ModelClass[] }) {
  if (classes.length > mostButtons) return <ClassList classes={classes} />;
  return (
    <FieldGroup path={path} label="Class">
      <div class="choices">
        {classes.map((modelClass) => (
          <label key={modelClass.label} class="choice">
            <input
              type="radio"
              name={path}
              value={modelClass.label}
              checked={address.value.settings[path] === String(modelClass.label)}
              onChange={() => setField(path, String(modelClass.label))}
            />
            <span>{nameOf(modelClass)}</span>
          </label>
        ))}
      </div>
    </FieldGroup>
  );
}

function ClassList({ classes }: { classes: readonly ModelClass[] }) {
  return (
    <Field path={path} label="Class" hint={`${classes.length} classes`}>
      {(control) => (
        <select {...control}>
          <option value="">Choose one</option>
          {classes.map((modelClass) => (
            <option key={modelClass.label} value={String(modelClass.label)}>
              {modelClass.label} · {nameOf(modelClass)}
            </option>
          ))}
        </select>
      )}
    </Field>
  );
}
