/** The schedule of a finished run, for another training: of the same recipe, or of another network. */
import { join } from 'node:path'
import { AutoprogError, expected } from '../errors.js'
import { type Config, loadConfig, resolveConfig } from '../recipe/config.js'
import { readSummary } from '../report/run-folder.js'

/**
 * The recipe with the stages of a finished run as its fixed schedule: their shares of the epochs, and their layers and
 * resolutions as ratios to the full network's, whichever network that is. Throws CHECKPOINT where no run has ended.
 */
export function withScheduleOf(config: Config, run: string): Config {
  const { scheme, stages } = readSummary(run)
  if (scheme === 'supernet')
    throw new AutoprogError('CONFIG', expected('a run that ends with a schedule', '--retrain', scheme), {
      hint: 'a supernet trains another sub-network in every step: give a run of autoprog',
    })
  const { lengths } = loadConfig({ file: join(run, 'config.yaml') }).schedule
  const subnetworks = stages.map(({ l, n }) => ({ l, n }))
  const schedule = {
    ...config.schedule,
    kind: 'fixed' as const,
    ...{ subnetworks, stages: subnetworks.length },
    lengths: lengths ?? (scheme === 'progstack' ? [1, 2, 5] : null),
  }
  return resolveConfig({ ...config, schedule })
}
