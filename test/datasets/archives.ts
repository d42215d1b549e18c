/** Tar archives for the tests of datasets. */
import { writeFile } from 'node:fs/promises'
import { buffer } from 'node:stream/consumers'
import { pack } from 'tar-stream'

export type Members = Record<string, Uint8Array | string>

/** Writes an archive of files, given by their paths. */
export async function writeTar(file: string, members: Members): Promise<void> {
  const packing = pack()
  for (const [name, content] of Object.entries(members)) packing.entry({ name }, Buffer.from(content))
  packing.finalize()
  await writeFile(file, await buffer(packing as unknown as AsyncIterable<Buffer>))
}
