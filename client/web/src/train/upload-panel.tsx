// Where pictures are dropped or picked, named and sent, and what became of it.
import { DatasetFormat } from "../gen/denoised/v1/datasets_pb.ts";
import { SelectField, TextField } from "../ui/controls.tsx";
import { useDrop } from "../ui/drop.ts";
import { FormFrame } from "../ui/form-frame.tsx";
import { bytes, many } from "../ui/units.ts";
import { LeftOutFiles } from "./left-out-files.tsx";
import type { Parcel } from "./upload/parcel.ts";
import { filesOfDrop, filesOfInput } from "./upload/picked.ts";
import {
  choose,
  chosen,
  form,
  formats,
  looking,
  putAway,
  refusal,
  startUpload,
  uploads,
} from "./upload/uploads.ts";
import { UploadCard } from "./upload-card.tsx";

export function UploadPanel() {
  return (
    <>
      {chosen.value ? <ChosenForm parcel={chosen.value} /> : <DropZone />}
      {refusal.value !== "" && (
        <p class="violation" role="alert">
          {refusal.value}
        </p>
      )}
      {uploads.value.map((upload) => (
        <UploadCard key={upload.name} upload={upload} />
      ))}
    </>
  );
}

function DropZone() {
  const drop = useDrop((dropped) => void choose(filesOfDrop(dropped)));
  return (
    <div class="drop upload-drop" {...drop}>
      <p>Drop a folder, pictures or an archive here</p>
      <div class="choices">
        <Picker label="Choose a folder" webkitdirectory />
        <Picker label="Choose files" multiple />
      </div>
      {looking.value ? (
        <p role="status">Looking at the files…</p>
      ) : (
        <p class="hint">PNG, JPEG and WebP; tar and zip; CIFAR-10 and MNIST</p>
      )}
    </div>
  );
}

type PickerProps = { label: string } & ({ webkitdirectory: true } | { multiple: true });

function Picker({ label, ...kind }: PickerProps) {
  return (
    <label class="choice">
      <input
        type="file"
        {...kind}
        onChange={(event) => {
          void choose(Promise.resolve(filesOfInput(event.currentTarget)));
          event.currentTarget.value = ""; // the same can be chosen again
        }}
      />
      <span>{label}</span>
    </label>
  );
}

function ChosenForm({ parcel }: { parcel: Parcel }) {
  const isArchive = parcel.pictures === undefined;
  return (
    <div class="panel">
      <FormFrame
        form={form}
        onSubmit={startUpload}
        actions={
          <>
            <button type="submit" class="primary">
              Upload
            </button>
            <button type="button" class="quiet" onClick={putAway}>
              Not now
            </button>
          </>
        }
      >
        <p class="number">
          {isArchive ? "an archive" : many(parcel.pictures ?? 0, "picture")} ·{" "}
          {bytes(parcel.bytes.size)}
        </p>
        <TextField path="header.name" label="Name of the data set" placeholder="pets" />
        {isArchive && (
          <SelectField
            path="header.format"
            label="Format"
            hint={parcel.format === DatasetFormat.TAR ? "tar stands for zip, too" : undefined}
            words={formats}
          />
        )}
        <LeftOutFiles
          title={`${many(parcel.leftOut.length, "file")} will not be sent`}
          files={parcel.leftOut}
          total={parcel.leftOut.length}
        />
      </FormFrame>
    </div>
  );
}
