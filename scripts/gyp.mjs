// What binding.gyp asks for: `sources`, one path a line, or whether a library can be used, 1 or 0.
import { spawnSync } from 'node:child_process'
import { readdirSync, readFileSync } from 'node:fs'

/** A library is there when a program that uses it compiles and links. */
const libraries = {
  onednn: {
    program: '#include <dnnl.hpp>\nint main() { return dnnl_version() == nullptr; }',
    flags: ['-ldnnl'],
    missing: 'oneDNN is missing: plain kernels are slower (apt-get install libdnnl-dev, macOS: brew install onednn)',
  },
  openmp: {
    program: '#include <omp.h>\nint main() { return omp_get_max_threads() < 1; }',
    flags: ['-fopenmp'],
    missing:
      'OpenMP is missing: oneDNN may use more threads than asked for (macOS: install CMake and brew install libomp)',
  },
  jpeg: {
    program:
      '#include <cstdio>\n#include <jpeglib.h>\nint main() { return jpeg_skip_scanlines(nullptr, LIBJPEG_TURBO_VERSION_NUMBER > 0) > 0; }',
    flags: ['-ljpeg'],
    missing:
      'libjpeg-turbo is missing: photos load at half the speed (apt-get install libjpeg-dev, macOS: brew install jpeg-turbo)',
  },
  highway: {
    program: '#include <hwy/targets.h>\nint main() { return hwy::SupportedTargets() == 0; }',
    flags: ['-lhwy'],
    missing: 'Highway is missing: apt-get install libhwy-dev (macOS: brew install highway)',
  },
}

function sources() {
  const folders = readFileSync('native/sources.txt', 'utf8').match(/^[a-z]\S*$/gm) ?? []
  return folders.flatMap((folder) => {
    const path = `native/${folder}`
    return readdirSync(path)
      .filter((name) => name.endsWith('.cpp'))
      .sort()
      .map((name) => `${path}/${name}`)
  })
}

function links({ program, flags }) {
  const homebrew = process.platform === 'darwin' ? ['-I/opt/homebrew/include', '-L/opt/homebrew/lib'] : []
  const [compiler, ...options] = (process.env.CXX ?? 'c++').split(' ')
  const result = spawnSync(
    compiler,
    [...options, '-std=c++20', ...homebrew, '-x', 'c++', '-', '-o', '/dev/null', ...flags],
    {
      input: program,
    },
  )
  return result.status === 0
}

const [wanted] = process.argv.slice(2)
if (wanted === 'sources') {
  console.log(sources().join('\n'))
} else {
  const found = links(libraries[wanted])
  console.log(found ? 1 : 0)
  // A line that begins with "autoprog:" is repeated to the user by scripts/install.mjs.
  if (!found) console.error(`autoprog: ${libraries[wanted].missing}`)
  if (!found && wanted === 'highway') process.exitCode = 1
}
