/** Writes the page of an evaluation, with the pictures that it is about. */
import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import sharp from 'sharp'
import type { Split } from '../data/source/dataset.js'
import { AutoprogError, printable } from '../errors.js'
import type { Guesses } from '../evaluation/guesses.js'
import type { EvaluationPage, ShownImage } from '../report/page/evaluation-page.js'
import { evaluationPage } from '../report/page/evaluation-page.js'
import { writeAtomically } from '../report/run-folder.js'

/** Pictures of each sheet, and pixels of their longer side. */
const [sheetSize, side] = [24, 144]

/** Writes `folder/index.html`; gives its path. Throws DATA where it cannot be written. */
export async function writeEvaluationReport(
  folder: string,
  facts: Omit<EvaluationPage, 'mistakes' | 'unsure'>,
  found: Guesses,
  split: Split,
): Promise<string> {
  const { truths, guesses, confidences, truthProbabilities, length } = found
  const names = facts.metrics.classes.map(({ name }) => name)
  const all = Array.from({ length }, (_, index) => index)
  const wrong = all.filter((index) => guesses[index] !== truths[index])
  const show = async (index: number): Promise<ShownImage> => ({
    name: printable(split.nameOf(index)),
    picture: await thumbnail(split, index),
    truth: names[truths[index]!]!,
    guess: names[guesses[index]!]!,
    confidence: confidences[index]!,
    truthProbability: truthProbabilities[index]!,
  })
  const first = async (indices: readonly number[], order: (a: number, b: number) => number) =>
    Promise.all([...indices].sort(order).slice(0, sheetSize).map(show))
  const mistakes = await first(wrong, (a, b) => confidences[b]! - confidences[a]! || a - b)
  const unsure = await first(all, (a, b) => confidences[a]! - confidences[b]! || a - b)
  const path = join(folder, 'index.html')
  try {
    mkdirSync(folder, { recursive: true })
    writeAtomically(path, evaluationPage({ ...facts, mistakes, unsure }))
  } catch (cause) {
    const hint = 'give a folder that you may write to and that has room'
    throw new AutoprogError('DATA', `Cannot write the report ${path}: ${(cause as Error).message}`, { hint, cause })
  }
  return path
}

/** A small JPEG; undefined where the image cannot be decoded. */
async function thumbnail(split: Split, index: number): Promise<string | undefined> {
  try {
    const { pixels, width, height, channels } = await split.load(index)
    const bytes = await sharp(pixels, { raw: { width, height, channels } })
      // Small pictures are enlarged, each pixel as a square.
      .resize(side, side, { fit: 'inside', kernel: Math.max(width, height) < side ? 'nearest' : 'lanczos3' })
      .jpeg({ quality: 85 })
      .toBuffer()
    return `data:image/jpeg;base64,${bytes.toString('base64')}`
  } catch {
    return undefined
  }
}
