/** What bench/inputs measures: inputs of full size, before networks so small that a step is soon over. */
const vit = { imageSize: 224, patchSize: 112, embedDim: 12, depth: 1, heads: 2, classes: 1000 }
/** 14 x 14 tokens, as VOLO-D1 has them at 224 pixels. */
const volo = {
  imageSize: 56,
  patchSize: 2,
  stemDim: 8,
  layers: [1, 1],
  embedDims: [8, 16],
  heads: [1, 2],
  classes: 1000,
}

export const cases = {
  'DeiT-S’s images of the loader, two steps under way': {
    ...{ kind: 'vit', model: vit, batch: 256, tokens: 0, from: 'loader', underWay: 2 },
  },
  'DeiT-S’s images of a caller, two steps under way': {
    ...{ kind: 'vit', model: vit, batch: 256, tokens: 0, from: 'caller', underWay: 2 },
  },
  'DeiT-S’s images of a caller, a step at a time': {
    ...{ kind: 'vit', model: vit, batch: 256, tokens: 0, from: 'caller', underWay: 1 },
  },
  '200.7 MB of token targets of a caller, two steps under way': {
    ...{ kind: 'volo', model: volo, batch: 256, tokens: 196, from: 'caller', underWay: 2 },
  },
  '200.7 MB of token targets of a caller, a step at a time': {
    ...{ kind: 'volo', model: volo, batch: 256, tokens: 196, from: 'caller', underWay: 1 },
  },
} as const
