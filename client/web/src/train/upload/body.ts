// The body of an UploadDataset call: Connect's envelopes, each a flag, a length and a message. It
// is a Blob of a few bytes here and there between slices of the upload, so that a file of any size
// is sent from the disk.
import { create, toBinary } from "@bufbuild/protobuf";
import { BinaryWriter, WireType } from "@bufbuild/protobuf/wire";
import {
  UploadChunkSchema,
  UploadDatasetRequestSchema,
  type UploadHeader,
} from "../../gen/denoised/v1/datasets_pb.ts";

// The most that the contract allows.
const chunkBytes = 2 ** 20;

export function uploadBody(header: UploadHeader, upload: Blob): Blob {
  const request = create(UploadDatasetRequestSchema, {
    message: { case: "header", value: header },
  });
  const opening = toBinary(UploadDatasetRequestSchema, request);
  const parts: BlobPart[] = [envelopeHead(opening.length), opening];
  for (let at = Number(header.offset); at < upload.size; at += chunkBytes) {
    const data = upload.slice(at, at + chunkBytes);
    const head = chunkHead(data.size);
    parts.push(envelopeHead(head.length + data.size), head, data);
  }
  return new Blob(parts);
}

function envelopeHead(messageBytes: number): Uint8Array<ArrayBuffer> {
  const head = new DataView(new ArrayBuffer(5));
  head.setUint32(1, messageBytes);
  return new Uint8Array(head.buffer);
}

// An UploadDatasetRequest up to the data of its chunk: the tags and lengths of `chunk` and `data`.
function chunkHead(dataBytes: number): Uint8Array<ArrayBuffer> {
  const data = fieldHead(UploadChunkSchema.field.data.number, dataBytes).finish();
  const chunk = fieldHead(UploadDatasetRequestSchema.field.chunk.number, data.length + dataBytes);
  return chunk.raw(data).finish();
}

const fieldHead = (number: number, bytes: number) =>
  new BinaryWriter().tag(number, WireType.LengthDelimited).uint32(bytes);
