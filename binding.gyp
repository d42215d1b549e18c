{
  # The CPU addon without CMake; CMakeLists.txt explains the options, scripts/gyp.mjs lists sources and finds libraries.
  "variables": {
    "highway%": "<!(node scripts/gyp.mjs highway)",
    "openmp%": "<!(node scripts/gyp.mjs openmp)",
    "onednn%": "<!(node scripts/gyp.mjs onednn)",
    "jpeg%": "<!(node scripts/gyp.mjs jpeg)"
  },
  "targets": [
    {
      "target_name": "autoprog",
      "sources": ["<!@(node scripts/gyp.mjs sources)"],
      "include_dirs": ["native", "<!(node -p \"require('node-addon-api').include_dir\")"],
      "defines": ["NAPI_VERSION=8", "NAPI_CPP_EXCEPTIONS", "NDEBUG"],
      "libraries": ["-lhwy"],
      "cflags_cc!": ["-fno-exceptions", "-fno-rtti", "-std=gnu++17", "-std=gnu++20"],
      "cflags_cc": [
        "-std=c++20", "-O3", "-Wall", "-Wextra", "-ffp-contract=off", "-fvisibility=hidden", "-fvisibility-inlines-hidden"
      ],
      "conditions": [
        ["openmp==1", { "cflags_cc": ["-fopenmp"], "ldflags": ["-fopenmp"] }],
        ["onednn==1", { "defines": ["AUTOPROG_ONEDNN=1"], "libraries": ["-ldnnl"] }],
        ["jpeg==1", { "defines": ["AUTOPROG_JPEG=1"], "libraries": ["-ljpeg"] }],
        ["OS=='mac'", {
          "include_dirs": ["/opt/homebrew/include", "/usr/local/include"],
          "link_settings": { "library_dirs": ["/opt/homebrew/lib", "/usr/local/lib"] },
          "xcode_settings": {
            "CLANG_CXX_LANGUAGE_STANDARD": "c++20",
            "GCC_ENABLE_CPP_EXCEPTIONS": "YES",
            "GCC_ENABLE_CPP_RTTI": "YES",
            "GCC_OPTIMIZATION_LEVEL": "3",
            "GCC_SYMBOLS_PRIVATE_EXTERN": "YES",
            "MACOSX_DEPLOYMENT_TARGET": "11.0",
            "OTHER_CFLAGS": ["-Wall", "-Wextra", "-ffp-contract=off"]
          }
        }]
      ]
    }
  ]
}
