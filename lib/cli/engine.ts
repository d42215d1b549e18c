/**
 * Where the commands meet the floors below, loaded when first used so that help and a mistake on the command line need
 * no addon. The interfaces say what the commands rely on.
 */
import type { TrainingEvent } from '../report/events.js'
import type { Config } from '../training/config.js'

export interface Accuracy {
  top1: number
  top5: number
  loss: number
}

export interface Evaluator {
  evaluate(
    run: string,
    options: { data?: string; resolution?: number },
  ): Promise<Accuracy & { emas: (Accuracy & { decay: number })[]; images: number }>
}

const load = async (module: string): Promise<unknown> => import(module)

export const loadEvaluator = async () => (await load('../training/evaluate.js')) as Evaluator
