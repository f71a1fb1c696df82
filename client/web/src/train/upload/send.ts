// Sends an upload with a request whose progress the browser tells, which `fetch` does not, and
// reads Connect's answer.
import { fromBinary } from "@bufbuild/protobuf";
import { Code, ConnectError } from "@connectrpc/connect";
import { endStreamFromJson } from "@connectrpc/connect/protocol-connect";
import { type Dataset, Datasets, DatasetSchema } from "../../gen/denoised/v1/datasets_pb.ts";
import { authorization } from "../../rpc/token.ts";

const endFlag = 2;

/** Throws ConnectError. Code.Unavailable without details: the connection broke. */
export function send(
  body: Blob,
  onProgress: (sentBytes: number) => void,
  signal: AbortSignal,
): Promise<Dataset> {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    const { typeName, method } = Datasets;
    request.open("POST", `/${typeName}/${method.uploadDataset.name}`);
    request.setRequestHeader("Content-Type", "application/connect+proto");
    request.setRequestHeader("Connect-Protocol-Version", "1");
    if (authorization()) request.setRequestHeader("Authorization", authorization());
    request.responseType = "arraybuffer";
    request.upload.onprogress = ({ loaded }) => onProgress(loaded);
    request.onerror = () => reject(new ConnectError("The connection broke", Code.Unavailable));
    request.onabort = () => reject(new ConnectError("cancelled", Code.Canceled));
    request.onload = () => {
      try {
        resolve(datasetOf(request));
      } catch (thrown) {
        reject(ConnectError.from(thrown));
      }
    };
    signal.addEventListener("abort", () => request.abort());
    request.send(body);
  });
}

function datasetOf({ status, response }: XMLHttpRequest): Dataset {
  if (status !== 200) throw new ConnectError(`HTTP status ${status}`, Code.Unavailable);
  let dataset: Dataset | undefined;
  for (const { flags, message } of envelopesIn(new Uint8Array(response as ArrayBuffer))) {
    if ((flags & endFlag) === 0) dataset = fromBinary(DatasetSchema, message);
    else {
      const { error } = endStreamFromJson(message);
      if (error) throw error;
    }
  }
  if (dataset === undefined) throw new ConnectError("The answer is cut short", Code.Unavailable);
  return dataset;
}

function* envelopesIn(answer: Uint8Array): Generator<{ flags: number; message: Uint8Array }> {
  const view = new DataView(answer.buffer);
  for (let at = 0; at + 5 <= answer.length;) {
    const begin = at + 5;
    const end = begin + view.getUint32(at + 1);
    yield { flags: view.getUint8(at), message: answer.subarray(begin, end) };
    at = end;
  }
}
