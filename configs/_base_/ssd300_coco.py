_base_ = 'mmdet::ssd/ssd300_coco.py'
custom_imports = dict(imports=['mindpad_mm'], allow_failed_imports=False)
