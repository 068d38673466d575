"""What readers may send."""

from django import forms
from django.conf import settings
from django.core.exceptions import ValidationError

from library.models import Review


class ReviewForm(forms.ModelForm):
    class Meta:
        model = Review
        fields = ("reader", "stars", "text")
        widgets = {"text": forms.Textarea(attrs={"rows": 4})}


class AttachmentForm(forms.Form):
    file = forms.FileField(max_length=100)

    def clean_file(self):
        file = self.cleaned_data["file"]
        if file.size > settings.MAX_ATTACHMENT_BYTES:
            raise ValidationError(f"A file may have at most {settings.MAX_ATTACHMENT_BYTES} bytes.")
        return file
