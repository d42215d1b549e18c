/** The tables of growth rules in test/golden. */
import { outlookerSplit } from '../../lib/growth/layer-map.js'
import type { FullNetwork } from '../../lib/growth/space.js'
import { goldenJson } from '../golden.js'

export interface Candidates {
  model?: string
  depth: number
  resolution: number
  multiple: number
  stages: number
  ratio: number
  depths: number[]
  resolutions: number[]
}

export interface Schedule {
  model: string
  depth: number
  resolution: number
  epochs: number
  scheme: 'original' | 'prog' | 'progstack' | 'fixed'
  stageCount?: number
  ratio?: number
  stages: { start: number; depth: number; resolution: number; l: number; n: number }[]
}

type Split = [outlookers: number, transformers: number]

export const growth = await goldenJson<{
  candidates: Candidates[]
  space: {
    stage: number
    depths: number[]
    resolutions: number[]
    currentDepth?: number
    currentResolution?: number
    spaceDepths: number[]
    spaceResolutions: number[]
  }[]
  elastic: { minimum: number; maximum: number; depth: number; active: number[] }[]
  operators: {
    small: number
    large: number
    interpolation: number[]
    stackingFromClassifier: number[]
    stackingFromInput: number[]
    randInitFromClassifier: (number | null)[]
    randInitFromInput: (number | null)[]
  }[]
  outlookers: { depth: number; split: Split }[]
  adaptive: { preset: 'd0' | 'd1'; stages: number; magnitude: number[]; erasing: number[]; stochasticDepth: number[] }[]
  stageStarts: { epochs: number; stages: number; starts: number[] }[]
}>('growth')

export const more = await goldenJson<{
  candidates: Candidates[]
  resnetCandidates: {
    blocks: number[]
    stages: number
    ratio: number
    blocksPerStage: number[][]
    resolutions: number[]
  }[]
  schedules: Schedule[]
  voloElastic: {
    smallest: number
    largest: number
    depth: number
    split: Split
    outlookers: number[]
    transformers: number[]
  }[]
  voloOperators: {
    small: number
    large: number
    splitSmall: Split
    splitLarge: Split
    outlookers: number[]
    transformers: number[]
  }[]
  nonMonotone: {
    smallest: number
    largest: number
    depth: number
    split: Split
    splitSmallest: Split
    splitLargest: Split
  }[]
}>('growth_more')

export const candidates = [...growth.candidates, ...more.candidates]

/** A network of layers all alike. */
export const layered = (depth: number, resolution: number, multiple: number): FullNetwork => ({
  ...{ kinds: 'layers', blocks: [depth], resolution, multiple },
})

/** The full network of a table's row. */
export function fullOf({
  model = '',
  depth,
  resolution,
  multiple,
}: {
  model?: string
  depth: number
  resolution: number
  multiple: number
}): FullNetwork {
  if (!model.startsWith('volo')) return layered(depth, resolution, multiple)
  const { outlookers, transformers } = outlookerSplit(depth)
  return { kinds: 'outlookers', blocks: [outlookers, transformers], resolution, multiple }
}
