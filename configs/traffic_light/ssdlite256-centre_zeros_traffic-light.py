# The shipped detector for images of 256 px, trained on the same lights 32 px or more off every border.
_base_ = './ssdlite256_zeros_traffic-light.py'

data_root = 'data/traffic_lights_centre/'
train_dataloader = dict(dataset=dict(data_root=data_root))
val_dataloader = dict(dataset=dict(data_root=data_root))
test_dataloader = val_dataloader
val_evaluator = dict(ann_file=data_root + 'annotations/val.json')
test_evaluator = val_evaluator
