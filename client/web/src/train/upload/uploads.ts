// What this page uploads: what was chosen and waits for its name, and what is on its way.
import { create } from "@bufbuild/protobuf";
import { reflect } from "@bufbuild/protobuf/reflect";
import { Code } from "@connectrpc/connect";
import { signal } from "@preact/signals";
import { DatasetFormatSchema, UploadHeaderSchema } from "../../gen/denoised/v1/datasets_pb.ts";
import { enumWordOf, enumWords, fill, type Settings } from "../../request/fields.ts";
import { Form } from "../../request/form.ts";
import { datasetName, refreshDatasets } from "../datasets.ts";
import { NothingToUpload, type Parcel, parcelOf } from "./parcel.ts";
import type { PickedFile } from "./picked.ts";
import { Upload } from "./upload.ts";

/** What was chosen last, until it is uploaded or put away. */
export const chosen = signal<Parcel | undefined>(undefined);
/** Files are being looked at. */
export const looking = signal(false);
/** Why what was chosen cannot be uploaded. Empty: it can. */
export const refusal = signal("");
/** Newest first. */
export const uploads = signal<readonly Upload[]>([]);

const settings = signal<Settings>({});

/** The fields of the header that people choose. */
export const form = new Form({
  settings,
  store: (next) => (settings.value = next),
  check: () => [],
});

const unreadable =
  "The browser cannot read these files. Check that they are still there, then choose them again.";

export async function choose(picking: Promise<readonly PickedFile[]>): Promise<void> {
  looking.value = true;
  refusal.value = "";
  try {
    show(await parcelOf(await picking));
  } catch (error) {
    refusal.value = error instanceof NothingToUpload ? error.message : unreadable;
  }
  looking.value = false;
}

function show(parcel: Parcel, name = parcel.name): void {
  chosen.value = parcel;
  settings.value = {
    "header.name": name,
    "header.format": enumWordOf(DatasetFormatSchema, parcel.format),
  };
  form.refuse([]);
}

export function putAway(): void {
  chosen.value = undefined;
}

/** Uploads what was chosen, under the name in the form. */
export function startUpload(): void {
  const parcel = chosen.peek();
  const { "header.name": name = "", "header.format": format = "" } = settings.peek();
  if (parcel === undefined) return;
  const description = whyNot(name);
  if (description !== undefined) {
    form.refuse([{ field: "header.name", description }]);
    return;
  }
  const header = create(UploadHeaderSchema);
  const named = { name: datasetName(name), format };
  fill(reflect(UploadHeaderSchema, header), named, () => undefined);
  const upload = new Upload(parcel, header);
  uploads.value = [upload, ...uploads.peek().filter((other) => other.name !== upload.name)];
  chosen.value = undefined;
  upload.state.subscribe(refreshDatasets);
}

function whyNot(name: string): string | undefined {
  if (name === "") return "is missing: choose one, such as pets";
  const isTaken = uploads.peek().some((one) => one.name === datasetName(name) && !one.ended);
  return isTaken
    ? "is that of an upload on its way: choose another, or cancel that one"
    : undefined;
}

/** Takes an upload that has ended out of the list. */
export function forget(upload: Upload): void {
  uploads.value = uploads.peek().filter((other) => other !== upload);
}

/** Shows the form of an upload that was refused again, with what is wrong with it. */
export function correct(upload: Upload): void {
  const problem = upload.problem.peek();
  forget(upload);
  show(upload.parcel, upload.name.replace(/^datasets\//, ""));
  const taken = problem?.code === Code.AlreadyExists;
  form.refuse(
    taken
      ? [{ field: "header.name", description: problem.message }]
      : (problem?.violations ?? []).filter(({ field }) => field.startsWith("header.")),
  );
}

/** Whether another name or format may make an upload that has failed succeed. */
export function isCorrectable({ problem }: Upload): boolean {
  const { code, violations = [] } = problem.value ?? {};
  return code === Code.AlreadyExists || violations.some(({ field }) => field.startsWith("header."));
}

export const formats = enumWords(DatasetFormatSchema);
