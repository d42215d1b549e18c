/** What a dataset gives the loader. `datasets/*.ts` implement it; nothing below `training` knows which one it is. */

import type { Fault } from '../image/fault.js'

/** A decoded image: 8-bit values in rows, columns, channels (H, W, C). */
export interface Image {
  readonly pixels: Uint8Array
  readonly height: number
  readonly width: number
  readonly channels: 1 | 3
}

/** One half of a dataset, or a part of one. */
export interface Split {
  readonly length: number
  /** Class index of every image (length). */
  readonly labels: Int32Array
  /** Size of every image where all are alike and held in memory; then no decoding is ever needed. */
  readonly uniform: { readonly height: number; readonly width: number } | undefined
  /**
   * The image `index`, decoded, at its own size.
   * Rejects with IMAGE where this one image is broken; the loader then takes another in its place.
   */
  load(index: number): Promise<Image>
  /** The bytes of image `index` as they are stored, where images are encoded; rejects as `load`. */
  read?(index: number): Promise<Uint8Array>
  /** The file that holds image `index` and nothing else, where there is one: it is then read without JavaScript. */
  fileOf?(index: number): string | undefined
  /** The pixels of image `index` without a copy, where `uniform` is given. */
  pixels?(index: number): Uint8Array
  /** How to name image `index` to a human: a path, or a member of an archive. */
  nameOf(index: number): string
  /** What tells image `index` from the others wherever the data lie; its name if not given. */
  keyOf?(index: number): string
  /** Tells whether the images are the same, in the same order, wherever they lie; `identify` gives a whole dataset's. */
  fingerprint(): Promise<string>
}

export interface Dataset {
  readonly name: string
  readonly classes: readonly string[]
  readonly channels: 1 | 3
  readonly train: Split
  /** Images that neither train nor test: they choose the best average of the weights. Undefined unless asked for. */
  readonly validation?: Split | undefined
  readonly test: Split
  /** Things to tell the user once: records dropped, a split that was made. */
  readonly notices: readonly string[]
  /** Files and folders that could not even be listed, by their full names; one of the notices tells of them. */
  readonly faults?: readonly Fault[]
  /** Releases files; harmless when repeated. */
  close(): Promise<void>
}

/** What `loadDataset` and the loaders of single datasets accept. */
export interface LoadOptions {
  /**
   * What to do where the data has no test half of its own: 'held-out', if not given, keeps a share of each class for testing;
   * 'all' makes a test half of everything, of any number of classes, and leaves the training half empty.
   */
  readonly halves?: 'held-out' | 'all'
  /** Share of each class held out for testing where the data has no test half of its own, in (0, 1); 0.1 if not given. */
  readonly holdOut?: number
  /**
   * Share of each class's training images to keep for choosing, in [0, 1); none if not given. Where the data has a val beside a
   * test half, that is taken instead.
   */
  readonly validation?: number
  /** Chooses the images held out. */
  readonly seed?: number
  /** Share of broken images above which loading fails; 0.01 if not given. */
  readonly maxBroken?: number
  readonly signal?: AbortSignal
  /** Told now and then how many images are decoded, where all are decoded ahead. */
  readonly onProgress?: (done: number, total: number) => void
  /** Told now and then how many files have been found, while a folder is listed or an archive indexed. */
  readonly onListing?: (files: number) => void
}
