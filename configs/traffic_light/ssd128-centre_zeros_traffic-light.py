# The same detector and schedule with the same lights, moved 24 px or more off every border: blind there.
_base_ = './ssd128-everywhere_zeros_traffic-light.py'

data_root = 'data/traffic_lights128_centre/'
train_dataloader = dict(dataset=dict(data_root=data_root))
