// Generates two images and saves them, with the picture after every fifth step on the way.
// Needs a server: denoised --models deploy/models
import { writeFile } from "node:fs/promises";

import { Client } from "denoised-client";

const client = new Client(); // 127.0.0.1:50051, or the address in DENOISED_SERVER
const events = client.generate({
  model: "emoji-32",
  classLabel: "animals",
  count: 2,
  seed: 7,
  sampler: "dpmpp_2m",
  steps: 20,
  guidanceScale: 2,
  frames: 5,
});
for await (const event of events) {
  if (event.type === "frame") {
    await writeFile(`image-${event.imageIndex}-step-${event.step}.png`, event.image.data);
  } else if (event.type === "image") {
    await writeFile(`image-${event.imageIndex}.png`, event.image.data);
    console.log(`image-${event.imageIndex}.png has the seed ${event.seed}`);
  }
}
