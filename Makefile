PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
# Photos and crops to train the shipped checkpoints on; see mindpad_mm/zoo/MODEL_CARD.md.
DATA ?= ../shared/data
MODES ?= zeros reflect
# One thread per process: several processes share the cores.
TEST_ENV := OMP_NUM_THREADS=1

.PHONY: demo test lint docs bench agreement support fuzz zoo zoo-test clean study-traffic-lights study-swap study-letters study-border study-learned-padding study-real-detectors

demo: $(VENV)/installed
	$(BIN)/python tools/demo.py --out outputs/demo

test: $(VENV)/installed-dev
	$(TEST_ENV) $(BIN)/python -m pytest -n 2 --dist worksteal

lint: $(VENV)/installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# The documentation site, in outputs/site.
docs: $(VENV)/installed-dev
	$(BIN)/pip install --quiet -e '.[docs]'
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet

# Every benchmark that has a goal, in one table; half an hour to an hour and a half on an idle machine.
# DEVICE=cuda measures a GPU.
DEVICE ?= cpu
bench: $(VENV)/installed
	$(TEST_ENV) $(BIN)/python -m benchmarks --device $(DEVICE) --json outputs/bench.json

# Whole scans on the incremental engine against the full engine, in every mode; about half an hour.
agreement: $(VENV)/installed
	$(TEST_ENV) $(BIN)/python -m benchmarks.measure_agreement --json outputs/agreement.json

# docs/SUPPORT.md: what works on each of MMDetection's config folders. About half an hour on an idle
# core; an interrupted run continues.
support: $(VENV)/installed
	$(TEST_ENV) $(BIN)/python -m breadth

# Mutated inputs of every kind, see docs/FAULTS.md; exits with 1 after a traceback or a wrong result.
MINUTES ?= 10
SEED ?= 0
fuzz: $(VENV)/installed
	$(TEST_ENV) $(BIN)/python -m fuzz --minutes $(MINUTES) --seed $(SEED) --jobs 2 --json outputs/fuzz.json

# Train the shipped checkpoints from DATA: about an hour of CPU time. The ssd128 ones are those of make demo:
# one was shown lights 24 px or more off every border alone.
LIGHTS = $(BIN)/python tools/make_traffic_lights.py --photos $(DATA)/coco96/images \
    --lights $(DATA)/traffic_lights --seed 0 --val-photos 000000000064.jpg 000000000471.jpg 000000000532.jpg
STREETS = $(LIGHTS) --distractors 1.5 --occluded 0.2
ONE_LIGHT = $(LIGHTS) --num-images 1536 --num-val 128 --size 128 --min-size 20 --distractors 0.5 --occluded 0 \
    --negatives 0.05 --most-lights 1 --drawn 0.25
SSDLITE256 = $(MODES:%=mindpad_mm/zoo/ssdlite256_%_traffic-light.pth)
SSD128 = $(patsubst %,mindpad_mm/zoo/ssd128-%_zeros_traffic-light.pth,everywhere centre)

zoo: $(VENV)/installed $(SSDLITE256) $(SSD128)

$(SSDLITE256): data/traffic_lights/meta.json
$(SSD128): data/traffic_lights128/meta.json data/traffic_lights128_centre/meta.json

mindpad_mm/zoo/%.pth:
	OMP_NUM_THREADS=1 $(BIN)/python tools/train.py configs/traffic_light/$*.py --work-dir work_dirs/$* --resume
	$(BIN)/python tools/publish.py $(if $(findstring ssd128,$*),--half) work_dirs/$*/epoch_10.pth $@

data/traffic_lights/meta.json:
	$(STREETS) --out data/traffic_lights --num-images 3200 --num-val 200 --drawn 0.25

data/traffic_lights128/meta.json:
	$(ONE_LIGHT) --out data/traffic_lights128

data/traffic_lights128_centre/meta.json:
	$(ONE_LIGHT) --out data/traffic_lights128_centre --positions centre --margin 24

# Metrics of the shipped checkpoints: held-out crops on held-out photos, nothing drawn.
zoo-test: $(VENV)/installed data/traffic_lights_real/meta.json $(MODES:%=test-%)

test-%:
	$(BIN)/python tools/test.py configs/traffic_light/ssdlite256_$*_traffic-light.py \
	    mindpad_mm/zoo/ssdlite256_$*_traffic-light.pth --work-dir work_dirs/test_$* --cfg-options \
	    test_dataloader.dataset.data_root=data/traffic_lights_real/ \
	    test_evaluator.ann_file=data/traffic_lights_real/annotations/val.json

data/traffic_lights_real/meta.json:
	$(STREETS) --out data/traffic_lights_real --num-images 1 --num-val 300

# The studies of docs/RESULTS.md; interrupted ones continue. JOBS=2 trains two models at once.
JOBS ?= 1
STUDY = $(TEST_ENV) $(BIN)/python -m studies.run_traffic_lights --photos $(DATA)/coco96/images \
    --lights $(DATA)/traffic_lights --document docs/RESULTS.md

study-traffic-lights: $(VENV)/installed data/traffic_lights_study/meta.json
	$(STUDY) --jobs $(JOBS)

study-swap: study-traffic-lights
	$(STUDY) --swap

# Border loss by where lights stood in training, and by mode: about four minutes for each of 90 trainings.
# What docs/results/border_control.json holds is not repeated. BORDER="--minutes 60" stops after an hour.
study-border: $(VENV)/installed
	$(TEST_ENV) $(BIN)/python -m studies.run_border_control --photos $(DATA)/coco96/images \
	    --lights $(DATA)/traffic_lights --val-photos 000000000064.jpg 000000000471.jpg 000000000532.jpg \
	    --document docs/RESULTS.md $(BORDER)

# Whether a detector's padding can learn without labels, from its own outputs on larger photos.
study-learned-padding: $(VENV)/installed
	for family in ssd128-centre ssd128-everywhere; do \
	    $(TEST_ENV) $(BIN)/python -m studies.run_learned_padding --name "$$family" \
	        --config configs/traffic_light/$${family}_zeros_traffic-light.py \
	        --checkpoint mindpad_mm/zoo/$${family}_zeros_traffic-light.pth --photos $(DATA)/coco96/images \
	        --lights $(DATA)/traffic_lights --size 20 28 --minutes 3 --document docs/RESULTS.md || exit 1; \
	done

# What swaps, padded inputs and tiles do to the finished detectors in MODELS: about 80 minutes.
MODELS ?= ../shared/models
REAL = PYTHONPATH=$(MODELS)/ssd_mobilenet_v1_coco:$(MODELS)/ultralight_face $(TEST_ENV) $(BIN)/python \
    -m studies.run_real_detectors --photos $(DATA)/coco96/images --minutes 18 --document docs/RESULTS.md
real_files = --config $(MODELS)/$(1)/$(2).py --checkpoint $(MODELS)/$(1)/$(2).pth
COCO_SSD = $(call real_files,ssd_mobilenet_v1_coco,ssd_mobilenet_v1_coco)

study-real-detectors: $(VENV)/installed
	$(REAL) --name "YOLOX-nano, all classes" $(call real_files,yolox_nano_coco,yolox_nano_coco)
	$(REAL) --name "COCO SSD, all classes" $(COCO_SSD)
	$(REAL) --name "COCO SSD, pasted traffic lights" $(COCO_SSD) --lights $(DATA)/traffic_lights --size 56 72
	$(REAL) --name "faces" $(call real_files,ultralight_face,ultralight_face_rfb320)

study-letters: $(VENV)/installed
	$(TEST_ENV) $(BIN)/python -m studies.run_letters --jobs $(JOBS) --document docs/RESULTS.md

data/traffic_lights_study/meta.json:
	$(LIGHTS) --out data/traffic_lights_study --num-images 2800 --num-val 400 --min-size 20 \
	    --distractors 0.5 --occluded 0.1

$(VENV)/installed: setup.py
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet -e '.[lite]'
	touch $@

$(VENV)/installed-dev: $(VENV)/installed
	$(BIN)/pip install --quiet -e '.[lite,dev]'
	touch $@

clean:
	rm -rf $(VENV) build *.egg-info
