// Starting from a picture, and replacing a part of it.
import { useSignal } from "@preact/signals";
import type { Model } from "../gen/denoised/v1/models_pb.ts";
import { address } from "../request/address.ts";
import { setField, setFields } from "../request/draft.ts";
import { addPicture, pictureOfFile, pictures } from "../request/pictures.ts";
import { NumberField } from "../ui/controls.tsx";
import { useDrop } from "../ui/drop.ts";
import { FieldGroup } from "../ui/field.tsx";
import { MaskPainter } from "./mask-painter.tsx";

const startPicture = "start.image.picture.data";
const strength = "start.image.strength";
const inpaintingPicture = "inpainting.picture.data";
const mask = "inpainting.mask.data";
const usualStrength = "0.6";

/** Uses a picture that requests shall start from, in place of another. */
export async function startFromPicture(blob: Blob): Promise<void> {
  const id = await addPicture(await pictureOfFile(blob));
  const { settings } = address.peek();
  const inpaints = settings[inpaintingPicture] !== undefined;
  setFields({
    [startPicture]: inpaints && settings[strength] === undefined ? "" : id,
    [strength]: settings[strength] ?? (inpaints ? "" : usualStrength),
    [inpaintingPicture]: inpaints ? id : "",
  });
}

const removePicture = () =>
  setFields({
    ...Object.fromEntries(
      [startPicture, strength, inpaintingPicture, mask].map((path) => [path, ""]),
    ),
    "inpainting.jump_length": "",
    "inpainting.resamples": "",
  });

export function StartFields({ model }: { model: Model }) {
  const { settings } = address.value;
  const id = settings[inpaintingPicture] ?? settings[startPicture];
  return (
    <FieldGroup
      path={settings[inpaintingPicture] ? "inpainting" : "start.image"}
      label="Start from a picture"
    >
      {id === undefined ? <DropZone /> : <PictureSettings id={id} model={model} />}
    </FieldGroup>
  );
}

function DropZone() {
  const problem = useSignal("");
  const use = (file: Blob | undefined) => {
    if (file === undefined) return;
    problem.value = "";
    startFromPicture(file).catch((error: unknown) => (problem.value = (error as Error).message));
  };
  const drop = useDrop((dropped) => use(dropped.files[0]));
  return (
    <>
      <label class="drop" {...drop}>
        <input
          type="file"
          class="hidden"
          accept="image/png,image/jpeg,image/webp"
          onChange={(event) => use(event.currentTarget.files?.[0])}
        />
        <span>
          Drop one here, or <u>choose a file</u>
        </span>
      </label>
      {problem.value !== "" && (
        <p class="violation" role="alert">
          {problem.value}
        </p>
      )}
    </>
  );
}

function PictureSettings({ id, model }: { id: string; model: Model }) {
  const { settings } = address.value;
  const inpaints = settings[inpaintingPicture] !== undefined;
  const url = pictures.value.get(id)?.url;
  const width = Number(settings["width"] ?? model.width) || model.width;
  const height = Number(settings["height"] ?? model.height) || model.height;
  return (
    <>
      <WholeOrPart id={id} inpaints={inpaints} />
      {url === undefined && pictures.value.has(id) && (
        <p class="explanation">
          This device does not have the picture of this link. Remove it, and choose it again.
        </p>
      )}
      {url !== undefined &&
        (inpaints ? (
          <MaskPainter
            key={`${id} ${width} ${height}`}
            url={url}
            width={width}
            height={height}
            mask={pictures.value.get(settings[mask] ?? "")?.bytes}
            onMask={(blob) => void addPicture(blob).then((maskId) => setField(mask, maskId))}
          />
        ) : (
          <img class="start-picture" src={url} alt="The picture that the images start from" />
        ))}
      <div class="row">
        {inpaints ? (
          <>
            <NumberField path="inpainting.resamples" label="Resamples" absent={1} step={1} />
            <NumberField path="inpainting.jump_length" label="Jump length" absent={10} step={1} />
          </>
        ) : (
          <StrengthField />
        )}
        <button type="button" class="quiet" onClick={removePicture}>
          Remove
        </button>
      </div>
    </>
  );
}

function StrengthField() {
  const value = address.value.settings[strength] ?? "";
  return (
    <div class="strength">
      <NumberField path={strength} label="Strength" absent="above 0, up to 1" step={0.05} />
      <input
        type="range"
        min="0.05"
        max="1"
        step="0.05"
        value={value}
        aria-label="Strength: left keeps the picture, right leaves nothing of it"
        onInput={(event) => setField(strength, event.currentTarget.value)}
      />
    </div>
  );
}

function WholeOrPart({ id, inpaints }: { id: string; inpaints: boolean }) {
  const change = () =>
    inpaints
      ? setFields({
          [inpaintingPicture]: "",
          [mask]: "",
          [startPicture]: id,
          [strength]: usualStrength,
        })
      : setFields({ [inpaintingPicture]: id, [startPicture]: "", [strength]: "" });
  return (
    <div class="choices">
      <label class="choice">
        <input type="radio" name="start-mode" checked={!inpaints} onChange={change} />
        <span>Vary all of it</span>
      </label>
      <label class="choice">
        <input type="radio" name="start-mode" checked={inpaints} onChange={change} />
        <span>Replace a part</span>
      </label>
    </div>
  );
}
