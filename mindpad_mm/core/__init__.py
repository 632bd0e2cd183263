"""What every part of mindpad_mm uses: errors, files, images, tables, detectors and their scenes."""
