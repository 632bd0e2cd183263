# The same for 129 = 2 * 2^6 + 1 px, where every strided layer reads its padding on both sides.
_base_ = './ssd128_traffic-light-study.py'

input_size = 129
train_pipeline = _base_.train_pipeline
train_pipeline[2]['scale'] = (input_size, input_size)
test_pipeline = _base_.test_pipeline
test_pipeline[1]['scale'] = (input_size, input_size)
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader
